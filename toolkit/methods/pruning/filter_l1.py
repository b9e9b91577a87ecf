"""Filter pruning by L1 norm."""

from __future__ import annotations

from typing import final

import numpy as np

from toolkit.learning.pruning.saliency import l1
from toolkit.learning.pruning.select import filters_by_norm
from toolkit.methods.pruning import OneMask, Pruner
from toolkit.methods.pruning.problem import Problem


@final
class FilterL1(Pruner):
    """The same share of every layer goes, the filters of least L1 norm first, just so much that the target is met (Li et al. 2017)."""

    def start(self, problem: Problem, rng: np.random.Generator) -> OneMask:
        return OneMask(filters_by_norm(l1(problem.model, problem.groups), problem.groups, problem.costs, problem.budget))
