"""Greedy hill climbing from the dense network."""

from __future__ import annotations

from typing import final

import numpy as np
from pydantic import Field

from toolkit.learning.genetic.genome import Mask
from toolkit.methods.pruning import Best, Pruner
from toolkit.methods.pruning.problem import Problem


class _Climbing(Best):
    def __init__(self, problem: Problem, rng: np.random.Generator, neighbours: int, most: int) -> None:
        super().__init__(problem)
        self.rng, self.neighbours, self.most = rng, neighbours, most
        self.left = problem.evaluations

    def ask(self) -> Mask:
        genome = self.problem.genome
        if not np.isfinite(self.order):
            self.left -= 1
            return self.mask[None]
        count = min(self.neighbours, self.left)
        self.left -= count
        flips = 2 ** self.rng.integers(int(np.log2(self.most)) + 1, size=count)
        masks = np.repeat(self.mask[None], count, axis=0)
        for mask, number in zip(masks, flips.tolist(), strict=True):
            part = genome.parts[self.rng.integers(len(genome.parts))]
            chosen = part.start + self.rng.choice(part.stop - part.start, size=min(number, part.stop - part.start), replace=False)
            mask[chosen] = ~mask[chosen]
        return genome.repair(masks, self.problem.saliency)


@final
class HillClimb(Pruner):
    """Steps to the best of a few neighbours while one is better; a neighbour differs in 1, 2, 4 ... bits of one layer."""

    neighbours: int = Field(10, ge=1, description="neighbours looked at before a step")
    most_flips: int = Field(32, ge=1, description="most bits in which a neighbour differs")

    def start(self, problem: Problem, rng: np.random.Generator) -> _Climbing:
        return _Climbing(problem, rng, self.neighbours, self.most_flips)
