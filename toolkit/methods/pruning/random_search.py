"""Random search: as many masks as the others evaluate, of every density; the best is kept."""

from __future__ import annotations

from typing import final

import numpy as np

from toolkit.learning.genetic.genome import Mask
from toolkit.methods.pruning import Best, Pruner
from toolkit.methods.pruning.problem import Problem

BATCH = 50


class _Drawing(Best):
    def __init__(self, problem: Problem, rng: np.random.Generator) -> None:
        super().__init__(problem)
        self.rng = rng
        self.left = problem.evaluations

    def ask(self) -> Mask:
        genome, count = self.problem.genome, min(BATCH, self.left)
        self.left -= count
        shares = np.repeat(self.rng.random((count, len(genome.sizes))), genome.sizes, axis=1)
        return genome.repair(self.rng.random((count, genome.bits)) < shares, self.problem.saliency)


@final
class RandomSearch(Pruner):
    """Masks that keep of each layer a share drawn evenly between nothing and everything, at random."""

    def start(self, problem: Problem, rng: np.random.Generator) -> _Drawing:
        return _Drawing(problem, rng)
