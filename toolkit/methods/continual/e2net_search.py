"""How E2Net finds its representative subnet: the schedule of what may be searched, and the search."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from toolkit.models.elastic_resnet import Configuration, Space


class Found(NamedTuple):
    """The outcome of a search."""

    config: Configuration
    share: float
    """rho: its parameters over those of the whole, to three decimals."""
    score: float


def stages(tasks: int, growth: float) -> list[int]:
    """Return how many of the ratios may be used after each task: each adds round(growth / 2 (1 + cos(pi t / (tasks - 1)))), at least one
    but for the last task.
    """
    found, total = [], 0
    for task in range(tasks):
        added = round(growth / 2 * (1 + math.cos(math.pi * task / max(1, tasks - 1))))
        total += added if task == tasks - 1 else max(1, added)
        found.append(max(1, total))
    return found


def share_of(space: Space, config: Configuration) -> float:
    """Return rho as the score uses it."""
    return round(space.share(config), 3)


@torch.no_grad()
def best_subnet(
    space: Space, candidates: Sequence[Configuration], whole: Tensor, scores: Callable[[Configuration], Tensor], limit: float
) -> Found | None:
    """Return the candidate of the lowest score MSE(scores, whole) exp(-rho) among those with rho below *limit*; None if there is none.

    A close answer and many parameters both make a score low. The published code looks for a small enough one among the best 30 only, and
    fails where there is none; where it finds one it is this one. In a plan, where no distance is known, all count as the same and it is the
    largest below *limit*: closeness of answers grows with size.
    """
    best: Found | None = None
    for config in candidates:
        share = share_of(space, config)
        if share < limit:
            score = float((scores(config) - whole).square().mean()) * math.exp(-share)
            if best is None or score < best.score:
                best = Found(config, share, score)
    return best
