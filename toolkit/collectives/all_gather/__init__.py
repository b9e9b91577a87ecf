"""Schedules after which every worker has every worker's vector, one file each."""
