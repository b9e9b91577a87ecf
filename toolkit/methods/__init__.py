"""Published methods as programs of the simulator."""
