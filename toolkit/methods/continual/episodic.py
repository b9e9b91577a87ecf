"""Episodic memory, which GEM and A-GEM share: every task has an equal share of the memory, the ring of its last samples."""

from __future__ import annotations

from torch import Tensor

from toolkit.datasets.streams import Stream
from toolkit.errors import ScenarioError
from toolkit.learning.flat import assign_gradient
from toolkit.learning.rings import Rings
from toolkit.methods.continual.batch import Batch
from toolkit.methods.continual.learner import Learner


class EpisodicMemory:
    """What a method does with such a memory; the losses and the projection are its own."""

    def check(self, stream: Stream, capacity: int) -> None:
        if capacity < stream.tasks:
            raise ScenarioError(f"program.buffer.images: {stream.tasks} tasks need a memory of as many samples (got {capacity})")

    def init(self, learner: Learner) -> Rings:
        return Rings.among(learner.stream.tasks, learner.memory().capacity)

    def begin_task(self, learner: Learner, state: Rings) -> None:
        state.open(len(learner.memory()))


def descend_along(learner: Learner, gradient: Tensor) -> None:
    """Take a step of plain SGD against a flat *gradient*."""
    assign_gradient(learner.parameters, gradient)
    learner.apply_gradient()


def remember(learner: Learner, state: Rings, batch: Batch) -> None:
    """Write *batch* to the ring of the present task."""
    taken, slots = state.turn(len(batch))
    learner.place(slots, batch.images[taken], batch.labels[taken])
