"""What a continual-learning run will take, said before it begins: steps, work, memory, flash."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolkit.core.program import Estimate
from toolkit.core.work import Work
from toolkit.datasets.streams import Stream
from toolkit.errors import ScenarioError
from toolkit.methods.continual import Plan
from toolkit.methods.continual.network import ContinualNet
from toolkit.methods.continual.storage import ITEM_BYTES, LABEL_BYTES, sample_nbytes

if TYPE_CHECKING:
    from toolkit.core.device import Device
    from toolkit.methods.continual.program import Continual

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
            smaller = math.prod(self.net.map_shape) < math.prod(self.net.image_shape)
            return spec.images * (PAPER_FACTOR if smaller else 1)
        channels, height, width = self.net.image_shape
        scores = 4 * self.net.num_classes if self.spec.method.stores_scores else 0
        host = channels * height * width * ITEM_BYTES[spec.host_dtype] + LABEL_BYTES + scores
        return max(1, spec.images * host // self.sample_nbytes)

    def length(self, task: int, device: Device | None) -> Length:
        """Return how many steps a task gets: its epochs, or what its share of the budget pays for beside the work between tasks.

        Time is that of *device*, its storage included.

        Raises:
            ScenarioError: the budget does not pay for a single step, or is of time where no machine is simulated.
        """
        budget = self.spec.budget
        batches = self.samples(task) / self.spec.batch
        per_epoch = max(1, math.floor(batches)) if self.spec.drop_last else math.ceil(batches)
        if budget.flops is None and budget.time_s is None:
            return Length(budget.epochs * per_epoch, per_epoch)
        method, plan = self.spec.method, self.plan(task, budget.epochs)
        work, boundary = method.step_work(plan), method.boundary_work(plan)
        if budget.flops is not None:
            steps = int((budget.flops / self.tasks - boundary.flops) // work.flops)
        elif device is not None and budget.time_s is not None:
            left_s, step_s = budget.time_s / self.tasks - (device.duration_s(boundary) if any(boundary) else 0.0), device.duration_s(work)
            if self.spec.buffer.place == "storage":
                step_s += device.storage_s(read_bytes=method.draws(plan) * self.sample_nbytes)
                offered = method.offers(plan) * budget.epochs * per_epoch * task
                most = Length(max(1, int(left_s // step_s)), per_epoch)
                left_s -= device.storage_s(write_bytes=float(self.written_nbytes(plan, most, offered).sum()))
            steps = int(left_s // step_s)
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

    def step_works(self, task: int, length: Length) -> tuple[Work, Work]:
        """Return the work of a step with a whole batch, and of the last one of an epoch."""
        batch = self.spec.batch
        rest = min(batch, self.samples(task) - (length.per_epoch - 1) * batch)
        whole = self.spec.method.step_work(self.plan(task, length.epochs))
        return whole, whole if rest == batch else self.spec.method.step_work(self.plan(task, length.epochs, rest))

    def written_nbytes(self, plan: Plan, length: Length, offered: float) -> NDArray[np.float64]:
        """Return the bytes that each step writes to the replay memory, in expectation, after *offered* samples of earlier tasks."""
        seen: NDArray[np.float64] = offered + self.spec.method.offers(plan) * np.arange(1.0, length.steps + 1)
        return self.spec.method.writes(plan, seen) * self.sample_nbytes

    def estimate(self, device: Device) -> Estimate:
        """Return what the whole run takes on *device*."""
        flops = moved = computing_s = storing_s = offered = memory = 0.0
        for task in range(self.tasks):
            length = self.length(task, device)
            plan = self.plan(task, length.epochs)
            whole, last = self.step_works(task, length)
            ends = length.steps // length.per_epoch
            boundary = self.spec.method.boundary_work(plan)
            for work, count in ((whole, length.steps - ends), (last, ends), (boundary, 1 if any(boundary) else 0)):
                flops += count * work.flops
                moved += count * (work.read_bytes + work.write_bytes)
                computing_s += count * device.duration_s(work)
            if self.spec.buffer.place == "storage" and self.capacity:
                read, written = (samples * self.sample_nbytes for samples in self.spec.method.boundary_traffic(plan))
                read += length.steps * self.spec.method.draws(plan) * self.sample_nbytes
                storing_s += device.storage_s(read, written + float(self.written_nbytes(plan, length, offered).sum()))
            offered += length.steps * self.spec.method.offers(plan)
            memory = max(memory, self.memory_bytes(plan))
        energy_j = computing_s * device.busy_w + storing_s * (device.idle_w + device.storage_w)
        kept = self.buffer_bytes if self.spec.buffer.place == "storage" else 0
        return Estimate(flops, moved, 0.0, memory, kept, computing_s + storing_s, energy_j)

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
