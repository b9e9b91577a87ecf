"""Machines on cables: devices, links and topologies, and what runs over them."""
