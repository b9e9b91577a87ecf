"""What a continual-learning run will take, said before it begins: steps, work, memory, flash."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from toolkit.core.work import Work
from toolkit.datasets.streams import Stream
from toolkit.errors import ScenarioError
from toolkit.methods.continual import Plan
from toolkit.methods.continual.network import ContinualNet
from toolkit.methods.continual.storage import ITEM_BYTES, LABEL_BYTES, sample_nbytes

if TYPE_CHECKING:
    from toolkit.methods.continual.program import Continual

Duration = Callable[[Work], float]
"""Seconds that a machine takes for a work."""
PAPER_FACTOR = 4
"""Encoded maps that CLFD keeps for each image of the nominal memory."""


class Length(NamedTuple):
    """How long a task is learnt."""

    steps: int
    per_epoch: int

    @property
    def epochs(self) -> int:
        """Epochs begun; the last may be cut short by a budget."""
        return math.ceil(self.steps / self.per_epoch)


@dataclass(frozen=True)
class Blueprint:
    """A run's settings together with its network and its stream."""

    spec: Continual
    net: ContinualNet
    stream: Stream

    @property
    def tasks(self) -> int:
        """Tasks that are learnt one after the other; 1 for a method that sees all at once."""
        return 1 if self.spec.method.sees_all else self.stream.tasks

    def samples(self, task: int) -> int:
        """Training samples of a task."""
        if self.spec.method.sees_all:
            return sum(self.stream.train_size(each) for each in range(self.stream.tasks))
        return self.stream.train_size(task)

    @property
    def sample_nbytes(self) -> int:
        """Bytes of one sample in the replay memory."""
        return sample_nbytes(self.net, self.spec.buffer.dtype, scores=self.spec.method.stores_scores)

    @property
    def capacity(self) -> int:
        """Samples that the replay memory holds under the rule of `BufferSpec.equal`; 0 for a method without one."""
        spec = self.spec.buffer
        if not self.spec.method.replays:
            return 0
        if spec.equal == "samples":
            return spec.images
        if spec.equal == "paper":
            return spec.images * (PAPER_FACTOR if self.net.has_front else 1)
        channels, height, width = self.net.image_shape
        scores = 4 * self.net.num_classes if self.spec.method.stores_scores else 0
        host = channels * height * width * ITEM_BYTES[spec.host_dtype] + LABEL_BYTES + scores
        return max(1, spec.images * host // self.sample_nbytes)

    def length(self, task: int, duration_s: Duration | None) -> Length:
        """Return how many steps a task gets: its epochs, or what its share of the budget pays for.

        Raises:
            ScenarioError: the budget does not pay for a single step, or is of time where no machine is simulated.
        """
        budget = self.spec.budget
        batches = self.samples(task) / self.spec.batch
        per_epoch = max(1, math.floor(batches)) if self.spec.drop_last else math.ceil(batches)
        if budget.flops is None and budget.time_s is None:
            return Length(budget.epochs * per_epoch, per_epoch)
        work = self.spec.method.step_work(self.plan(task, budget.epochs))
        if budget.flops is not None:
            steps = int(budget.flops / self.tasks // work.flops)
        elif duration_s is not None and budget.time_s is not None:
            steps = int(budget.time_s / self.tasks // duration_s(work))
        else:
            raise ScenarioError("program.budget.time_s: needs a simulated machine; give flops or epochs")
        if steps < 1:
            name = self.spec.method.type_name()
            raise ScenarioError(f"program.budget: pays for no step of {name} in task {task}; one takes {work.flops:.3g} FLOPs")
        return Length(steps, per_epoch)

    def plan(self, task: int, epochs: int, batch: int | None = None) -> Plan:
        """Return what a method has to know to price a task; *batch* for a last step that is smaller."""
        spec = self.spec
        seen = self.stream.seen(self.stream.tasks - 1 if spec.method.sees_all else task)
        return Plan(
            self.net.prices, spec.batch if batch is None else batch, min(spec.replay, self.capacity), spec.bn, self.tasks, task,
            self.samples(task), epochs, self.capacity, seen, seen if spec.method.sees_all else len(self.stream.heads(task)),
        )

    def memory_bytes(self, plan: Plan) -> float:
        """What learning needs in memory at its worst: weights, gradients, results kept for the way back, what the method keeps itself,
        the task's samples as pixels, and the replay memory if it lies there.
        """
        channels, height, width = self.net.image_shape
        weights = sum(weight.nbytes for weight in [*self.net.parameters(), *self.net.buffers()])
        gradients = 4 * plan.prices.parameters
        kept = plan.prices.activations_bytes(plan.batch + round(self.spec.method.draws(plan)))
        data = plan.task_samples * channels * height * width
        replay = self.buffer_bytes if self.spec.buffer.place == "memory" else 0
        return weights + gradients + kept + self.spec.method.extra_bytes(plan) + data + replay

    @property
    def buffer_bytes(self) -> int:
        """Bytes of the replay memory when it is full."""
        return self.capacity * self.sample_nbytes
