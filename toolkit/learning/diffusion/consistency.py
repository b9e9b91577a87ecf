"""Consistency distillation: the same image from everywhere on a path (Song et al. 2023, arXiv 2303.01469).

Departure: index 0 of the schedule, which is not quite free of noise, is the boundary at which z / alpha is the answer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from toolkit.learning.diffusion.drawing import Predicts, told
from toolkit.learning.diffusion.schedule import Schedule

DATA_DEVIATION = 0.5


class ConsistencyModel(nn.Module):
    """A network that predicts images, mixed with its input so that at index 0 it is the identity."""

    def __init__(self, network: nn.Module, schedule: Schedule) -> None:
        super().__init__()
        self.network, self.schedule = network, schedule

    def forward(self, z: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        alpha, sigma = self.schedule.at(t, z)
        noise = sigma / alpha - float(self.schedule.sigma[0] / self.schedule.alpha[0])
        skip = DATA_DEVIATION**2 / (noise**2 + DATA_DEVIATION**2)
        found: Tensor = skip * z / alpha + (1 - skip) * told(self.network, labels)(z, t)
        return found


def pseudo_huber(one: Tensor, other: Tensor) -> Tensor:
    """Return the mean over the batch of sqrt(|a - b|^2 + c^2) - c, c = 0.00054 sqrt(numbers per image) (Song, Dhariwal 2023)."""
    c = 0.00054 * one[0].numel() ** 0.5
    distances: Tensor = ((one - other).square().flatten(1).sum(1) + c * c).sqrt().sub(c)
    return distances.mean()


@torch.no_grad()
def consistency_target(model: Predicts, z: Tensor, t: Tensor) -> Tensor:
    """Return what the averaged *model* says of *z* at indices *t*, one step of the teacher lower."""
    found: Tensor = model(z, t)
    return found
