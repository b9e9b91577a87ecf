"""A glider that learns continually and ships changes of its network ashore when the water allows."""
