"""JOINT: all tasks at once, the upper bound."""

from __future__ import annotations

from typing import ClassVar, final

from torch import Tensor

from toolkit.methods.continual import Batch, ContinualMethod
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.sgd import plain_step


@final
class Joint(ContinualMethod[None]):
    """Cross-entropy of the samples of all tasks, shuffled together, for as many epochs as each task would have had.

    It meets no order of tasks, so it has no forgetting and no transfer.
    """

    replays: ClassVar[bool] = False
    blurs: ClassVar[bool] = True
    sees_all: ClassVar[bool] = True

    def step(self, learner: Learner, state: None, batch: Batch) -> Tensor:
        return plain_step(learner, batch)
