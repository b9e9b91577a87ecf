"""Rehearsals: the messages of a method without its data, so that a network can be priced before anything is trained on it."""
