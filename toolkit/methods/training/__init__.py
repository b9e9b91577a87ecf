"""Plain supervised training on one machine, and what the trained network then costs per image there."""
