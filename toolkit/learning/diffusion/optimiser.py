"""Adam over one flat vector, gradient clipping, and an average of weights: plain tensors, so that a training can be kept as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass
class Adam:
    """Moments of a gradient (Kingma, Ba 2015, arXiv 1412.6980)."""

    first: Tensor
    second: Tensor
    steps: int = 0

    @classmethod
    def of(cls, weights: Tensor) -> Self:
        return cls(torch.zeros_like(weights), torch.zeros_like(weights))

    def step(self, weights: Tensor, gradient: Tensor, lr: float, *, eps: float = 1e-8) -> None:
        """Change *weights* in place."""
        self.steps += 1
        self.first.lerp_(gradient, 0.1)
        self.second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        scale = (1 - 0.999**self.steps) ** 0.5
        weights.addcdiv_(self.first, self.second.sqrt().add_(eps * scale), value=-lr * scale / (1 - 0.9**self.steps))


def clip(gradient: Tensor, most: float = 1.0) -> None:
    """Shorten *gradient* in place to a norm of *most*, if it is longer."""
    norm = float(gradient.norm())
    if norm > most:
        gradient.mul_(most / norm)


def average(mean: Tensor, weights: Tensor, decay: float) -> None:
    """Move the exponential average *mean* towards *weights*, in place."""
    mean.lerp_(weights, 1 - decay)
