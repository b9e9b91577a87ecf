"""What the water does to sound: loss on the way, its speed, and the noise in it."""
