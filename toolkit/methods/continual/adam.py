"""Adam for methods whose sources train with it; its moments are part of a method's state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from toolkit.learning.meter import Meter, adam_work, checking_work

MEAN_DECAY, SQUARE_DECAY, EPSILON = 0.9, 0.999, 1e-8


@dataclass
class Adam:
    """Moments of the gradients of some weights, and the step that they lead to (Kingma, Ba 2015, algorithm 1)."""

    mean: list[Tensor] = field(default_factory=list)
    square: list[Tensor] = field(default_factory=list)
    steps: int = 0

    @classmethod
    def of(cls, weights: Sequence[Tensor]) -> Adam:
        return cls([torch.zeros_like(weight) for weight in weights], [torch.zeros_like(weight) for weight in weights])

    @torch.no_grad()
    def step(self, weights: Sequence[Tensor], meter: Meter, *, rate: float, weight_decay: float = 0.0) -> None:
        """Move *weights* by the gradients that they hold; one without a gradient stays as it is. *weight_decay* adds to the gradient."""
        moved = [place for place, weight in enumerate(weights) if weight.grad is not None]
        gradients = [gradient for place in moved if (gradient := weights[place].grad) is not None]
        values = [weights[place].detach() for place in moved]
        mean, square = [self.mean[place] for place in moved], [self.square[place] for place in moved]
        if weight_decay:
            torch._foreach_add_(gradients, values, alpha=weight_decay)
        self.steps += 1
        torch._foreach_lerp_(mean, gradients, 1 - MEAN_DECAY)
        torch._foreach_mul_(square, SQUARE_DECAY)
        torch._foreach_addcmul_(square, gradients, gradients, 1 - SQUARE_DECAY)
        scale = 1 - MEAN_DECAY**self.steps
        spread = [torch.sqrt(each).mul_(scale / math.sqrt(1 - SQUARE_DECAY**self.steps)).add_(scale * EPSILON) for each in square]
        torch._foreach_addcdiv_(values, mean, spread, -rate)
        size = sum(value.numel() for value in values)
        meter.add(adam_work(size) + checking_work(size))
