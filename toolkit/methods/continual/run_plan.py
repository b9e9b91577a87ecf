"""What a continual-learning run will take, said before it begins: steps, work, memory, flash."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch

from toolkit.core.device import Device
from toolkit.core.program import Estimate
from toolkit.core.work import FLOAT_BYTES
from toolkit.datasets.streams import Stream, blurred
from toolkit.errors import ScenarioError
from toolkit.methods.continual import ContinualMethod
from toolkit.methods.continual.network import ContinualNet
from toolkit.methods.continual.plan import PhaseCost, StepCount, TaskPlan, plan_tasks
from toolkit.methods.continual.spec import ContinualSettings
from toolkit.methods.continual.storage import ITEM_BYTES, LABEL_BYTES, sample_nbytes
from toolkit.methods.task import TaskSpec

ROUNDS = 4
"""How often the length of tasks under a budget is mended."""
PAPER_FACTOR = 4
"""Encoded maps that CLFD keeps for each image of the nominal memory."""


@dataclass(frozen=True)
class RunPlan:
    """A run's settings together with its network and its stream."""

    spec: ContinualSettings
    net: ContinualNet
    stream: Stream

    @classmethod
    def draw(cls, spec: ContinualSettings, weights: torch.Generator, rng: np.random.Generator) -> RunPlan:
        """Return the blueprint with a new network; *weights* draws them, *rng* the stream's order."""
        return cls(spec, _drawn(spec.task, spec.method, weights), spec.stream.open(spec.task.load().data, rng))

    @property
    def tasks(self) -> int:
        """Tasks that are learnt one after the other; 1 for a method that sees all at once."""
        return 1 if self.spec.method.sees_all else self.stream.tasks

    def samples(self, task: int) -> int:
        """Training samples of a task."""
        if self.spec.method.sees_all:
            return sum(self.stream.train_size(each) for each in range(self.stream.tasks))
        return self.stream.train_size(task)

    # The replay memory

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
        scores = FLOAT_BYTES * self.net.num_classes if self.spec.method.stores_scores else 0
        host = channels * height * width * ITEM_BYTES[spec.host_dtype] + LABEL_BYTES + scores
        return max(1, spec.images * host // self.sample_nbytes)

    @property
    def buffer_bytes(self) -> int:
        """Bytes of the replay memory when it is full."""
        return self.capacity * self.sample_nbytes

    # How long

    def step_count(self, task: int, device: Device | None) -> StepCount:
        """Return how many steps a task gets: its epochs, or what its share of the budget pays for, the work between steps included.

        Time is that of *device*, its storage included.

        Raises:
            ScenarioError: the budget does not pay for a single step, or is of time where no machine is simulated.
        """
        budget = self.spec.budget
        if budget.flops is None and budget.time_s is None:
            return self._unlimited(task)
        if budget.time_s is not None and device is None:
            raise ScenarioError("program.budget.time_s: needs a simulated machine; give flops or epochs")
        return self._lengths(device)[task]

    def _unlimited(self, task: int) -> StepCount:
        """Return the length of a task by its epochs alone."""
        batches = self.samples(task) / self.spec.batch
        per_epoch = max(1, math.floor(batches)) if self.spec.drop_last else math.ceil(batches)
        return StepCount(self.spec.budget.epochs * per_epoch, per_epoch)

    def _lengths(self, device: Device | None) -> tuple[StepCount, ...]:
        """Return the lengths that the budget pays for.

        What a task takes is not quite proportional to its steps, as the first epoch may differ from others, so lengths are tried and
        mended a few times; of those that were tried the longest that keeps the budget is taken.
        """
        lengths = [self._unlimited(task) for task in range(self.tasks)]
        fitting: list[StepCount | None] = [None] * self.tasks
        for _ in range(ROUNDS):
            for task, plan in enumerate(self._plans(tuple(lengths))):
                here, spare, step = lengths[task], self._spare(plan, device), self._spent(plan.last("step"), device)
                kept = fitting[task]
                if spare >= 0 and (kept is None or here.steps > kept.steps):
                    fitting[task] = here
                steps = here.steps + math.floor(spare / step)
                if steps < 1 and here.steps == 1:
                    flops, name = plan.work("step").flops, self.spec.method.type_name()
                    raise ScenarioError(f"program.budget: pays for no step of {name} in task {task}; one takes {flops:.3g} FLOPs")
                lengths[task] = here._replace(steps=max(1, steps))
        return tuple(kept or tried for kept, tried in zip(fitting, lengths, strict=True))

    def _spare(self, plan: TaskPlan, device: Device | None) -> float:
        """Return what a task leaves of its share of the budget, in FLOPs or s; negative where it takes more."""
        budget = self.spec.budget.flops or self.spec.budget.time_s or 0.0
        return budget / self.tasks - sum(self._spent(each, device) for each in plan.costs)

    def _spent(self, costs: PhaseCost, device: Device | None) -> float:
        """Return FLOPs, or the time in s on *device*, whichever the budget is of."""
        if self.spec.budget.flops is not None or device is None:
            return costs.each.work.flops * costs.times
        return costs.times * _computing_s(costs, device) + self._storing_s(costs, device)

    # What it takes

    def plan(self, task: int, device: Device | None = None) -> TaskPlan:
        """Return what a task will take."""
        return self._plans(tuple(self.step_count(each, device) for each in range(self.tasks)))[task]

    def _plans(self, lengths: tuple[StepCount, ...]) -> tuple[TaskPlan, ...]:
        return _planned(self.spec, self.stream.classes, lengths)

    def _storing_s(self, costs: PhaseCost, device: Device) -> float:
        if self.spec.buffer.place != "storage":
            return 0.0
        read, written = (costs.times * nbytes for nbytes in (costs.each.read_bytes, costs.each.written_bytes))
        return device.storage_s(read, written + float(costs.inserted_bytes.sum()))

    def estimate(self, device: Device) -> Estimate:
        """Return what the whole run takes on *device*."""
        flops = moved = computing_s = storing_s = memory = 0.0
        for task in range(self.tasks):
            plan = self.plan(task, device)
            for each in plan.costs:
                work = each.each.work.times(each.times)
                flops += work.flops
                moved += work.read_bytes + work.write_bytes
                computing_s += each.times * _computing_s(each, device)
                storing_s += self._storing_s(each, device)
            memory = max(memory, self.memory_bytes(plan))
        energy_j = computing_s * device.busy_w + storing_s * (device.idle_w + device.storage_w)
        kept = self.buffer_bytes if self.spec.buffer.place == "storage" else 0
        return Estimate(
            flops=flops, moved_nbytes=moved, sent_nbytes=0.0, memory_nbytes=memory, storage_nbytes=kept, time_s=computing_s + storing_s,
            energy_j=energy_j,
        )

    def memory_bytes(self, plan: TaskPlan) -> float:
        """What learning needs in memory at its worst: weights, whatever a task works with, and the replay memory if it lies there."""
        weights = sum(weight.nbytes for weight in [*self.net.parameters(), *self.net.buffers()])
        replay = self.buffer_bytes if self.spec.buffer.place == "memory" else 0
        return weights + plan.working_bytes + replay


def _computing_s(costs: PhaseCost, device: Device) -> float:
    return device.duration_s(costs.each.work, costs.phase) if any(costs.each.work) else 0.0


def _drawn(spec: TaskSpec, method: ContinualMethod, weights: torch.Generator) -> ContinualNet:
    task = spec.load()
    channels, height, width = task.data.train_images.shape[1:]
    shape = (channels, height, width)
    return method.network(task.build_in_parts(weights, method.trunk_shape(shape)), shape, weights)


@lru_cache(maxsize=64)
def unweighted(spec: ContinualSettings) -> RunPlan:
    """Return the blueprint of a run with a network that has shapes and no memory: all that counting needs."""
    shared, learn = _shapes(_Asked(spec.task, spec.method.shaping(), spec.method))
    net = shared.counted_apart()
    for weight, learns in zip(net.parameters(), learn, strict=True):  # an earlier plan may have frozen some of them
        weight.requires_grad_(learns)
    return RunPlan(spec, net, spec.stream.open(spec.task.load().data, np.random.default_rng(0)))


@dataclass(frozen=True)
class _Asked:
    """A network that several arms may have alike, so that what its calls take is counted once for all of them."""

    task: TaskSpec
    shaping: Hashable
    method: ContinualMethod = field(compare=False)


@lru_cache(maxsize=64)
def _shapes(asked: _Asked) -> tuple[ContinualNet, tuple[bool, ...]]:
    """Return the network, and which of its weights learn."""
    net = _drawn(asked.task, asked.method, torch.Generator().manual_seed(0)).to("meta")
    return net, tuple(weight.requires_grad for weight in net.parameters())


@lru_cache(maxsize=64)
def _planned(spec: ContinualSettings, classes: tuple[tuple[int, ...], ...], lengths: tuple[StepCount, ...]) -> tuple[TaskPlan, ...]:
    """Return the plan of every task of a stream that brings *classes*."""
    run_plan = unweighted(spec)
    stream = Stream(run_plan.stream.dataset, classes, (None,) * len(classes))
    stream = blurred(stream, spec.stream.blur, np.random.default_rng(0))
    return plan_tasks(
        spec, run_plan.net, stream, capacity=run_plan.capacity, sample_nbytes=run_plan.sample_nbytes, lengths=lengths
    )
