"""Network slimming: channels whose BatchNorm scale was driven to zero."""

from __future__ import annotations

from typing import final

import numpy as np
from pydantic import Field

from toolkit.learning.pruning.saliency import slimming
from toolkit.learning.pruning.select import SizeBudget, by_rank
from toolkit.methods.pruning import OneMask, Pruner
from toolkit.methods.pruning.problem import Problem


@final
class NetworkSlimming(Pruner):
    """Train with an L1 penalty on the scales of BatchNorm, then remove the channels of least scale (Liu et al. 2017).

    Only what has BatchNorm can go, so hidden units stay, and of a target only its computation is met.
    """

    penalty: float = Field(1e-3, ge=0, description="weight of the L1 norm of all scales in the dense network's training loss")

    def start(self, problem: Problem, rng: np.random.Generator) -> OneMask:
        scales = slimming(problem.model, problem.groups)
        return OneMask(by_rank(scales, problem.groups, problem.costs, SizeBudget(conv_macs=problem.budget.conv_macs)))

    def gamma_l1(self) -> float:
        return self.penalty
