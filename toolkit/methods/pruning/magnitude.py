"""Weights by magnitude: storage only."""

from __future__ import annotations

from typing import ClassVar, Literal, final

import numpy as np
from pydantic import Field
from torch import Tensor

from toolkit.learning.pruning.select import magnitude_masks
from toolkit.methods.pruning import OneMask, Pruner
from toolkit.methods.pruning.problem import Problem


@final
class Magnitude(Pruner):
    """Zero the smallest weights and train on with them at zero, a larger share in every round (Han et al. 2015).

    The network keeps its shape: what is saved is storage (indices not counted), not multiply-adds, not latency.
    """

    units: ClassVar[bool] = False

    scope: Literal["network", "layer"] = Field("network", description="one threshold for all weights, or the same share of every layer")

    def start(self, problem: Problem, rng: np.random.Generator) -> OneMask:
        return OneMask(problem.groups.dense())

    def weight_masks(self, problem: Problem, share: float) -> dict[str, Tensor]:
        return magnitude_masks(problem.model, share, per_layer=self.scope == "layer")
