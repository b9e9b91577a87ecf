"""Mine: a pruner to begin with. It keeps the units whose incoming weights are largest, the same share of every layer.

    toolkit check ./mine.py
    toolkit simulate SCENARIO.yaml --set program.pruner=mine        with this file beside the scenario
"""

from __future__ import annotations

from typing import final

import numpy as np
from pydantic import Field

from toolkit.learning.genetic.genome import Mask
from toolkit.learning.pruning import saliency
from toolkit.methods.pruning import Best, Pruner
from toolkit.methods.pruning.problem import Problem


class Shares(Best):
    """A search in progress: one mask for each share; the best of them is kept by `Best`."""

    def __init__(self, problem: Problem, steps: int) -> None:
        super().__init__(problem)
        self.left = list(np.linspace(1.0, 0.2, steps))

    def ask(self) -> Mask:
        """Return the masks to be evaluated next; none when it is over."""
        shares, self.left = self.left[: self.problem.evaluations], []
        worth = saliency.l1(self.problem.model, self.problem.groups)
        masks = np.zeros((len(shares), self.problem.genome.bits), bool)
        for part in self.problem.genome.parts:
            rank = np.argsort(np.argsort(-worth[part]))
            for mask, share in zip(masks, shares, strict=True):
                mask[part] = rank < share * len(rank)
        return self.problem.genome.repair(masks, self.problem.saliency)


@final
class Mine(Pruner):
    """The largest weights stay: of several shares, the one whose network is best by error, computation and parameters.

    Settings are fields like these, with bounds and a description.
    """

    steps: int = Field(10, ge=2, le=1000, description="shares that are tried, from everything down to a fifth")

    def start(self, problem: Problem, rng: np.random.Generator) -> Shares:
        """Begin to choose a mask for a problem; what is random is drawn from *rng*."""
        return Shares(problem, self.steps)
