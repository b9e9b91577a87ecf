"""The network as it was when the present task began, for methods that distil from it."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.network import ContinualNet


@dataclass
class Taught:
    """The frozen network, in eval mode; None in the first task and between tasks."""

    teacher: ContinualNet | None = None


def frozen_copy(learner: Learner) -> ContinualNet:
    """Return a copy of the learner's network that does not learn; its weights are read and written."""
    learner.over_weights(flops=0, reads=1, writes=1)
    return copy.deepcopy(learner.net).eval().requires_grad_(False)
