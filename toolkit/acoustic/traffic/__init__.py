"""Traffic: programs in which nodes send measurements to any sink."""
