"""The network as it was when the present task began, for methods that distil from it."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from toolkit.datasets.streams import Stream
from toolkit.learning.plain_state import restored
from toolkit.methods.continual import ContinualMethod
from toolkit.methods.continual.bases import check_bases
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.network import ContinualNet

N = TypeVar("N", bound=ContinualNet)


@dataclass
class Taught:
    """The frozen network, in eval mode; None in the first task and between tasks."""

    teacher: ContinualNet | None = None


class Distilling(ContinualMethod[Taught]):
    """A method without old data whose teacher is the network as the last task left it."""

    replays: ClassVar[bool] = False

    def check(self, stream: Stream, capacity: int) -> None:
        check_bases(stream, self.type_name())

    def init(self, learner: Learner) -> Taught:
        return Taught()

    def resume(self, learner: Learner, begun: Taught, kept: Any) -> Taught:
        if kept["teacher"] is not None:
            begun.teacher = as_teacher(copy.deepcopy(learner.net))
        return restored(begun, kept)

    def begin_task(self, learner: Learner, state: Taught) -> None:
        if learner.task:
            state.teacher = frozen_copy(learner)

    def end_task(self, learner: Learner, state: Taught) -> None:
        state.teacher = None


def frozen_copy(learner: Learner) -> ContinualNet:
    """Return a copy of the learner's network that does not learn; its weights are read and written."""
    learner.over_weights(flops=0, reads=1, writes=1)
    return as_teacher(copy.deepcopy(learner.net).eval())


def as_teacher(net: N) -> N:
    """Let *net* learn nothing, and its calls be counted as a teacher's; return it."""
    net.part = "teacher"
    net.requires_grad_(False)
    return net
