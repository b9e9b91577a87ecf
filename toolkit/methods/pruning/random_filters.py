"""Filters at random: what any criterion has to beat."""

from __future__ import annotations

from typing import final

import numpy as np

from toolkit.learning.pruning.select import at_random
from toolkit.methods.pruning import OneMask, Pruner
from toolkit.methods.pruning.problem import Problem


@final
class RandomFilters(Pruner):
    """The same share of every layer goes, drawn at random (another draw for every seed), just so much that the target is met."""

    def start(self, problem: Problem, rng: np.random.Generator) -> OneMask:
        return OneMask(at_random(rng, problem.groups, problem.costs, problem.budget))
