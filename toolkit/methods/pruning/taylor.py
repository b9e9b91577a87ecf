"""Taylor greedy: units go in the order of their saliency, and the best point of that path is taken."""

from __future__ import annotations

from typing import final

import numpy as np

from toolkit.learning.genetic.genome import Mask
from toolkit.learning.pruning.select import removal_order
from toolkit.methods.pruning import Best, Pruner
from toolkit.methods.pruning.problem import Problem

BATCH = 50


class _Path(Best):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.order_of_going = removal_order(problem.saliency, problem.groups)
        lengths = np.linspace(0, len(self.order_of_going), problem.evaluations).round().astype(int)
        self.lengths = np.unique(lengths).tolist()

    def ask(self) -> Mask:
        now, self.lengths = self.lengths[:BATCH], self.lengths[BATCH:]
        masks = np.ones((len(now), self.problem.genome.bits), bool)
        for mask, length in zip(masks, now, strict=True):
            mask[self.order_of_going[:length]] = False
        return masks


@final
class TaylorGreedy(Pruner):
    """Remove the least salient unit of the whole network again and again, and stop where F is least.

    Source: Molchanov et al. 2017 for the criterion and the greedy removal; saliencies have mean 1 per layer, as the genetic search has
    them. Departure: within a round they are not reckoned anew after each removal, but on every round.
    """

    def start(self, problem: Problem, rng: np.random.Generator) -> _Path:
        return _Path(problem)
