"""Diffusion as processes: a base network, its distillation to few steps, and what an image then costs."""
