"""Adam over a list of tensors; its moments are plain tensors, so that a training can be kept as data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

BETAS = (0.9, 0.999)
EPSILON = 1e-8


@dataclass
class Adam:
    """Moments of the gradients of some weights, and the step that they lead to (Kingma, Ba 2015, algorithm 1)."""

    mean: list[Tensor] = field(default_factory=list)
    square: list[Tensor] = field(default_factory=list)
    steps: int = 0
    betas: tuple[float, float] = BETAS
    """Of mean and square; with both 0 every weight moves by the rate, against its gradient's sign."""

    @classmethod
    def of(cls, weights: Sequence[Tensor], betas: tuple[float, float] = BETAS) -> Self:
        mean, square = ([torch.zeros_like(weight) for weight in weights] for _ in range(2))
        return cls(mean, square, betas=betas)

    @torch.no_grad()
    def step(self, weights: Sequence[Tensor], gradients: Sequence[Tensor | None], rate: float, *, weight_decay: float = 0.0) -> None:
        """Move *weights* in place; one whose gradient is None stays as it is. *weight_decay* is added to the gradients in place."""
        moved = [place for place, gradient in enumerate(gradients) if gradient is not None]
        slopes = [gradient for gradient in gradients if gradient is not None]
        values = [weights[place].detach() for place in moved]
        mean, square = [self.mean[place] for place in moved], [self.square[place] for place in moved]
        if weight_decay:
            torch._foreach_add_(slopes, values, alpha=weight_decay)
        self.steps += 1
        mean_decay, square_decay = self.betas
        torch._foreach_lerp_(mean, slopes, 1 - mean_decay)
        torch._foreach_mul_(square, square_decay)
        torch._foreach_addcmul_(square, slopes, slopes, 1 - square_decay)
        scale = math.sqrt(1 - square_decay**self.steps)
        spread = torch._foreach_sqrt(square)
        torch._foreach_add_(spread, EPSILON * scale)
        torch._foreach_addcdiv_(values, mean, spread, -rate * scale / (1 - mean_decay**self.steps))
