"""What a run of a method will take, found by taking its own steps with stand-ins: a few that stand for all.

In every task the hooks of each epoch are called, and a step with a whole and with the last, smaller batch is taken in the first, the second
and the last epoch; epochs between are like the second. Steps are those with a filled memory. Two things cannot be had that way and are
expectations: what a reservoir takes in (`expected_taken`), with the work of encoding it, and the subnet that E2Net's search will choose
(`e2net_search.best_subnet`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from toolkit.core.work import Work
from toolkit.datasets.streams import Samples, Stream
from toolkit.learning.buffer import expected_taken
from toolkit.learning.standin import StandIn
from toolkit.methods.continual.batch import Batch
from toolkit.methods.continual.evaluation import recalibrate
from toolkit.methods.continual.network import ContinualNet
from toolkit.methods.continual.spec import ContinualSettings
from toolkit.methods.continual.standin import StandInLearner, StandInStream, shaped, shared_rng
from toolkit.methods.continual.storage import BufferStorage


class StepCount(NamedTuple):
    """How long a task is learnt."""

    steps: int
    per_epoch: int

    @property
    def epochs(self) -> int:
        """Epochs begun; the last may be cut short by a budget."""
        return math.ceil(self.steps / self.per_epoch)

    def of_epoch(self, epoch: int) -> int:
        """Return the steps of an epoch."""
        return min(self.per_epoch, self.steps - epoch * self.per_epoch)


class Cost(NamedTuple):
    """What is paid at once: work, and bytes read from and written to the replay memory."""

    work: Work
    read_bytes: float
    written_bytes: float

    def __bool__(self) -> bool:
        return any(self.work) or self.read_bytes > 0 or self.written_bytes > 0


class PhaseCost(NamedTuple):
    """The same cost several times, but for what the memory takes in."""

    phase: str
    each: Cost
    times: int
    inserted_bytes: NDArray[np.float64]
    """Bytes of samples that a reservoir takes in, each time, in expectation (times,)."""


@dataclass
class TaskPlan:
    """What a task will take."""

    costs: list[PhaseCost] = field(default_factory=list)
    """In the order in which they come."""
    working_bytes: float = 0.0
    """Largest sum of results, gradients and the method's own state at one time, the task's samples among them; weights and replay memory
    apart.
    """
    step_parts: dict[str, float] = field(default_factory=dict)
    """FLOPs of a step with a whole batch in the last epoch, by the part that does them: network, teacher, generator, other."""
    assumed: dict[str, int] = field(default_factory=dict)
    """Branches on values that were taken one way (`toolkit.learning.standin`)."""

    def of(self, *phases: str) -> Iterator[PhaseCost]:
        """Yield the costs of some phases."""
        yield from (each for each in self.costs if each.phase in phases)

    def last(self, phase: str) -> PhaseCost:
        """Return the cost of the last time that a phase comes, once."""
        found = [each for each in self.costs if each.phase == phase][-1]
        return found._replace(times=1, inserted_bytes=found.inserted_bytes[-1:])

    def work(self, *phases: str) -> Work:
        """Return the work of some phases together."""
        return sum((each.each.work.times(each.times) for each in self.of(*phases)), Work())

    def read_bytes(self, *phases: str) -> float:
        return sum(each.each.read_bytes * each.times for each in self.of(*phases))

    def written_bytes(self, *phases: str) -> float:
        return sum(each.each.written_bytes * each.times + float(each.inserted_bytes.sum()) for each in self.of(*phases))


BETWEEN = ("begin task", "begin epoch", "end epoch", "end task", "recalibrate")
"""Phases beside ``step``."""
NOTHING = np.zeros(1)


def task_samples(stream: Stream, task: int, *, everything: bool) -> Samples:
    """Return the training samples of a task, or of all tasks for a method that sees *everything*."""
    if not everything:
        return stream.train(task)
    parts = [stream.train(each) for each in range(stream.tasks)]
    return Samples(torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts]))


def plan_tasks(
    settings: ContinualSettings, net: ContinualNet, stream: Stream, *, capacity: int, sample_nbytes: int, lengths: tuple[StepCount, ...]
) -> tuple[TaskPlan, ...]:
    """Return the plan of every task; *net* has shapes and no memory, and stays as it is."""
    learner = StandInLearner(
        StandInStream.like(stream), shaped(net), shared_rng=shared_rng, batch=settings.batch, replay=settings.replay, lr=settings.lr,
        bn=settings.bn, augment=settings.augment, storage=BufferStorage(settings.buffer.dtype), capacity=capacity,
        sgd=settings.sgd, balanced=settings.buffer.choice == "balanced",
    )
    learner.net.train()
    with StandIn([*learner.net.parameters(), *learner.net.buffers()]) as standin:
        planner = _Planner(settings, learner, settings.method.init(learner), standin, sample_nbytes)
        return tuple(planner.task(task, step_count) for task, step_count in enumerate(lengths))


@dataclass
class _Planner:
    """Goes through the tasks one after the other."""

    settings: ContinualSettings
    learner: StandInLearner
    state: Any
    standin: StandIn
    sample_nbytes: int
    plan: TaskPlan = field(default_factory=TaskPlan)
    places: float = 0.0
    """Of the memory, for the classes that come now."""
    before: int = 0
    """Samples that were offered before any of these classes."""

    def task(self, task: int, step_count: StepCount) -> TaskPlan:
        method, learner, state = self.settings.method, self.learner, self.state
        self.plan = TaskPlan()
        learner.task = learner.stream.tasks - 1 if method.sees_all else task
        learner.epochs, learner.last_epoch = step_count.epochs, max(0, step_count.steps // step_count.per_epoch - 1)
        samples = task_samples(learner.stream, task, everything=method.sees_all)
        method.begin_task(learner, state)
        self._pay("begin task")
        self._share_places()
        steps: dict[int, tuple[tuple[Cost, float], ...]] = {}
        for epoch in range(step_count.epochs):
            learner.epoch = epoch
            method.begin_epoch(learner, state)
            self._pay("begin epoch")
            stands_for = epoch if epoch == 0 or epoch >= learner.last_epoch else 1
            if stands_for not in steps:
                self._settle()
                learner.fill(method, state, samples, learner.epochs)
                self.standin.live.peak = self.standin.live.now
                whole, rest = self._sizes(len(samples), step_count)
                self.learner.meter.take_parts()
                first = self._step(samples, whole)
                self.plan.step_parts = self.learner.meter.take_parts()
                steps[stands_for] = first, first if rest == whole else self._step(samples, rest)
            self._add_steps(steps[stands_for], step_count, step_count.of_epoch(epoch))
            method.end_epoch(learner, state)
            self._pay("end epoch")
        method.end_task(learner, state)
        self._pay("end task")
        if self.settings.recalibrate_bn and learner.remembers:
            recalibrate(learner)
            self._pay("recalibrate")
        self._settle()
        self.plan.assumed = dict(self.standin.assumed)
        return self.plan

    def _share_places(self) -> None:
        """Say for whom the memory has how many places: all that was ever offered, or the classes of this task beside those before."""
        learner, memory = self.learner, self.learner.buffer
        if memory is None:
            return
        self.places, self.before = float(memory.capacity), 0
        if learner.balanced and not self.settings.stream.blur and learner.task:
            new = learner.seen - learner.stream.seen(learner.task - 1)
            if new:
                self.places, self.before = memory.capacity * new / learner.seen, memory.seen

    def _sizes(self, samples: int, step_count: StepCount) -> tuple[int, ...]:
        """Samples of a whole batch, and of the last one of an epoch."""
        batch = min(self.settings.batch, samples)
        return batch, min(batch, samples - (step_count.per_epoch - 1) * batch)

    def _step(self, samples: Samples, size: int) -> tuple[Cost, float]:
        """Take one step; return what it takes, and how many samples it offers to the memory."""
        chosen = torch.arange(size)
        batch = Batch(samples.images[chosen], samples.labels[chosen], chosen)
        self.learner.offered = 0.0
        self.settings.method.step(self.learner, self.state, batch)
        return self._taken(), self.learner.offered

    def _add_steps(self, kinds: tuple[tuple[Cost, float], ...], step_count: StepCount, steps: int) -> None:
        """Add the steps of an epoch, the last of them with the smaller batch where the epoch is whole."""
        last = 1 if steps == step_count.per_epoch else 0
        for (cost, offers), count in zip(kinds, (steps - last, last), strict=True):
            if count:
                inserted, encoding = self._insertions(offers, count)
                self.plan.costs.append(PhaseCost("step", cost._replace(work=cost.work + encoding), count, inserted))

    def _insertions(self, offers: float, count: int) -> tuple[NDArray[np.float64], Work]:
        """Return the bytes that *count* steps write, each offering so many samples, and the work of encoding what one of them writes."""
        memory = self.learner.buffer
        if memory is None or not offers:
            return np.zeros(count), Work()
        offered: NDArray[np.float64] = memory.seen - self.before + offers * np.arange(1.0, count + 1)
        memory.count_as_offered(round(offers * count))
        taken = expected_taken(self.places, offered, offers)
        mean = float(taken.mean())
        chance = -math.expm1(-mean)  # that a step writes anything
        return taken * self.sample_nbytes, self.learner.net.encoding_work(max(1, round(mean / chance))).times(chance)

    def _taken(self) -> Cost:
        return Cost(self.learner.meter.take(), *self.learner.meter.take_traffic())

    def _pay(self, phase: str) -> None:
        cost = self._taken()
        if cost:
            self.plan.costs.append(PhaseCost(phase, cost, 1, NOTHING))

    def _settle(self) -> None:
        """Note the largest memory since the last time, and begin anew."""
        live, memory = self.standin.live, self.learner.buffer
        reserved = 0 if memory is None else memory.reserved_nbytes
        self.plan.working_bytes = max(self.plan.working_bytes, float(live.peak - reserved))
        live.peak = live.now
