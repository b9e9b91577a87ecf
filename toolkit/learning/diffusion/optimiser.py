"""Gradient clipping, and an average of weights."""

from __future__ import annotations

from torch import Tensor


def clip(gradient: Tensor, most: float = 1.0) -> None:
    """Shorten *gradient* in place to a norm of *most*, if it is longer."""
    norm = float(gradient.norm())
    if norm > most:
        gradient.mul_(most / norm)


def average(mean: Tensor, weights: Tensor, decay: float) -> None:
    """Move the exponential average *mean* towards *weights*, in place."""
    mean.lerp_(weights, 1 - decay)
