"""Continual learning: methods that meet one task after the other and are asked about all of them.

A method is plain torch code. It gets a `Learner`, which holds the network, the replay memory and the samples of the present step, and says
what a step, the beginning and the end of a task do. It never touches the clock: what it asks of network, memory and weights is counted
by the learner, and the program (`toolkit.methods.continual.program`) pays for it on the simulated machine. Beside that it *says* beforehand
what a step will ask (`step_work`, `boundary_work`, `extra_bytes`), so that a run can be priced without training; a law test compares.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from toolkit.core.part import Part
from toolkit.core.work import Work
from toolkit.methods.continual.network import ContinualNet

if TYPE_CHECKING:
    from toolkit.methods.continual.costs import Prices
    from toolkit.methods.continual.learner import Learner


@dataclass(frozen=True)
class Batch:
    """Samples of the present task for one step."""

    images: Tensor
    """uint8 (n, channels, height, width), as the camera gave them."""
    labels: Tensor
    """int64 (n,), mapped."""
    index: Tensor
    """Their places in the task's training set, int64 (n,)."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Plan:
    """What a method has to know to say beforehand what it will ask of the machine."""

    prices: Prices
    batch: int
    """Samples of the present task per step."""
    replay: int
    """Samples drawn from the memory at a time."""
    bn: Literal["concat", "separate"]
    tasks: int
    task: int
    """0 for the first task."""
    task_samples: int
    """Training samples of this task."""
    epochs: int
    capacity: int
    """Samples the replay memory holds; 0 without one."""
    seen: int
    """Classes that have appeared, this task's included."""
    classes: int
    """Classes of this task."""

    def passes(self, current: int, *replayed: int) -> Work:
        """The work of `Learner.passes`: encoding the present samples, and one pass for all or one for each."""
        counts = [count for count in (current, *replayed) if count]
        work = self.prices.encode(current, training=self.front_trains) if current else Work()
        for count in [sum(counts)] if self.bn == "concat" else counts:
            work += self.prices.scores(count)
        return work

    front_trains: bool = False
    """Whether the front end is trained in this task."""


class Method(Part):
    """A way of learning tasks one after the other. Frozen; what changes lives in the state that `init` returns (plain values, tensors and
    modules, so that a run can be stopped and taken up again).
    """

    family: ClassVar[str] = "continual learning method"
    modules: ClassVar[tuple[str, ...]] = ("toolkit.methods.continual.{}",)
    replays: ClassVar[bool] = True
    """Whether it uses the learner's replay memory (`Learner.buffer`)."""
    sees_all: ClassVar[bool] = False
    """Whether it learns all tasks at once (the upper bound)."""
    stores_scores: ClassVar[bool] = False
    """Whether each stored sample has the scores (K float32) of the network that saw it, which equal-bytes budgets must count."""

    def network(self, model: nn.Module, image_shape: tuple[int, int, int], weights: Generator) -> ContinualNet:
        """Return the network around *model*; methods that change it begin here, and draw what weights they add from *weights*."""
        return ContinualNet(model, image_shape)

    def check(self, plan: Plan) -> None:
        """Raise `ScenarioError` where it cannot learn such a stream with such a memory; *plan* is that of the last task."""

    def init(self, learner: Learner) -> Any:
        """Return the state before the first task."""
        return None

    def begin_task(self, learner: Learner, state: Any) -> None:
        """Get ready for task `learner.task`."""

    def begin_epoch(self, learner: Learner, state: Any) -> None:
        """Get ready for epoch `learner.epoch` (from 0) of `learner.epochs`."""

    @abstractmethod
    def step(self, learner: Learner, state: Any, batch: Batch) -> Tensor:
        """Take one step on *batch*; return the loss."""

    def end_epoch(self, learner: Learner, state: Any) -> None:
        """Close an epoch."""

    def end_task(self, learner: Learner, state: Any) -> None:
        """Close a task."""

    def predict(self, learner: Learner, state: Any, images: Tensor) -> Tensor:
        """Return scores (n, K) of normalised *images*, in eval mode and without gradients; not counted, as evaluations cost nothing."""
        scores: Tensor = learner.net(images)
        return scores

    @abstractmethod
    def step_work(self, plan: Plan) -> Work:
        """The work of a step, once the memory is filled."""

    def boundary_work(self, plan: Plan) -> Work:
        """The work between tasks: of `begin_task` and `end_task` of `plan.task`, all epochs' beginnings and ends included."""
        return Work()

    def extra_bytes(self, plan: Plan) -> float:
        """Memory that it needs beyond weights, gradients, results kept for the way back, and the replay memory."""
        return 0.0

    def offers(self, plan: Plan) -> float:
        """Samples offered to the replay memory per step, on average; for the plan of flash traffic."""
        return float(plan.batch) if self.replays else 0.0

    def draws(self, plan: Plan) -> float:
        """Samples drawn from the replay memory per step."""
        return float(plan.replay) if self.replays else 0.0

    def writes(self, plan: Plan, offered: NDArray[np.float64]) -> NDArray[np.float64]:
        """Samples written to the replay memory, in expectation, by steps after each of which so many have been *offered* in all."""
        found: NDArray[np.float64] = self.offers(plan) * np.minimum(1.0, plan.capacity / np.maximum(offered, 1.0))
        return found

    def boundary_traffic(self, plan: Plan) -> tuple[float, float]:
        """Samples read from and written to the replay memory between tasks: where `boundary_work` is done."""
        return 0.0, 0.0


