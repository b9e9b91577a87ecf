"""Continual learning on an edge device: the loop that all methods of this family share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import torch

from toolkit.core.context import Asking, Context
from toolkit.core.fabric import Fabric
from toolkit.core.program import Estimate, Process, Program
from toolkit.datasets.streams import Samples
from toolkit.errors import ScenarioError
from toolkit.learning.random import torch_generator
from toolkit.methods.continual.batch import Batch
from toolkit.methods.continual.blueprint import Blueprint, unweighted
from toolkit.methods.continual.evaluation import examine, recalibrate
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.network import recount
from toolkit.methods.continual.plan import Length, TaskPlan, task_samples
from toolkit.methods.continual.spec import ContinualSettings
from toolkit.methods.continual.storage import Storage

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from toolkit.core.device import Device
    from toolkit.report import Result


@dataclass
class Course:
    """A run under way: the learner, the method's state, and where they are."""

    blueprint: Blueprint
    learner: Learner
    state: Any
    device: Device | None
    task: int = 0
    step: int = 0
    """Steps of this task that are done."""
    began_s: float = 0.0
    """When this task began."""

    def state_dict(self) -> dict[str, Any]:
        return {
            "learner": self.learner.state_dict(), "state": self.state, "task": self.task, "step": self.step, "began_s": self.began_s,
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.learner.load_state_dict(saved["learner"])
        self.state, self.task, self.step, self.began_s = saved["state"], saved["task"], saved["step"], saved["began_s"]
        recount(self.state, self.learner.net)


@final
class Continual(ContinualSettings, Program):
    """One machine learns the tasks of a stream one after the other and is examined on all of them after each.

    Samples of a task arrive `frames_per_s` (or are all there at once), are learnt within `budget` and are gone with the task; only what
    the method put into the replay memory stays. Computing is charged by what the network's calls ask, one charge per step; reading and
    writing the memory by its bytes; examinations cost nothing.
    """

    def check(self, fabric: Fabric) -> None:
        from toolkit.cluster.fabric import Cluster

        if not isinstance(fabric, Cluster):
            raise ScenarioError(f"program: continual learning needs fabric: cluster, and this is '{fabric.type_name()}'")
        if fabric.workers != 1 or fabric.servers:
            got = f"{fabric.workers} and {fabric.servers} servers"
            raise ScenarioError(f"fabric.workers: continual learning runs on 1 machine (got {got})")
        if self.budget.flops is not None and self.budget.time_s is not None:
            raise ScenarioError("program.budget: flops and time_s are both given; give one")
        if self.task.blank is not None and self.learn:
            raise ScenarioError("program.task.blank: there is nothing to learn from images without content; set program.learn: false")
        blueprint = unweighted(self)
        if self.buffer.dtype == "uint8" and blueprint.net.has_front:
            raise ScenarioError("program.buffer.dtype: uint8 keeps pixels, and this method keeps maps; use float32, float16 or int8")
        device = fabric.device_of(fabric.wiring().nodes[0])
        self.method.check(blueprint.stream, blueprint.capacity)
        needed = max(blueprint.memory_bytes(blueprint.plan(task, device)) for task in range(blueprint.tasks))
        device.check_fits(needed, f"{self.task.model.name} with {self.method.type_name()} at batch {self.batch}")
        if self.buffer.place == "storage" and blueprint.capacity:
            device.check_fits(blueprint.buffer_bytes, f"a replay memory of {blueprint.capacity} samples", "storage")

    def blueprint(self, weights: torch.Generator, rng: np.random.Generator) -> Blueprint:
        """Return the run's plan with a new network; *weights* draws them, *rng* the stream's order."""
        return Blueprint.draw(self, weights, rng)

    def estimate(self, fabric: Fabric) -> Estimate | None:
        """The closed form of a run with `learn` false, on the first machine of the cluster; frames are not waited for."""
        from toolkit.cluster.fabric import Cluster

        if not isinstance(fabric, Cluster):
            return None
        return unweighted(self).estimate(fabric.device_of(fabric.wiring().nodes[0]))

    def feedback(self) -> str:
        return "the time that steps take decides how many there are (budget.time_s)" if self.budget.time_s is not None else ""

    def run(self, ctx: Context) -> Process:
        torch.set_num_threads(self.threads)
        course = self._begin(ctx)
        blueprint = course.blueprint
        for task in range(course.task, blueprint.tasks):
            length = blueprint.length(task, course.device)
            plan = blueprint.plan(task, course.device)
            if not course.step:
                ctx.metric("memory_nbytes", blueprint.memory_bytes(plan), step=task)
                course.began_s = ctx.now
            learner = course.learner
            learner.task = blueprint.stream.tasks - 1 if self.method.sees_all else task
            learner.epochs = length.epochs
            learner.last_epoch = max(0, length.steps // length.per_epoch - 1)
            yield from self._learn(ctx, course, length) if self.learn else self._pretend(ctx, course, plan, length)
            course.task, course.step = task + 1, 0
            if self.learn:
                ctx.save(learner.steps, course.state_dict())

    def _begin(self, ctx: Context) -> Course:
        """Build the learner, or take up a stopped one."""
        blueprint = self.blueprint(torch_generator(ctx.fresh_rng("model")), ctx.fresh_rng("stream"))
        learner = Learner(
            blueprint.stream, blueprint.net, fresh_rng=ctx.fresh_rng, batch=self.batch, replay=self.replay, lr=self.lr, bn=self.bn,
            augment=self.augment, storage=Storage(self.buffer.dtype), capacity=blueprint.capacity,
        )
        learner.net.train()
        course = Course(blueprint, learner, None, getattr(ctx, "device", None))
        saved = ctx.saved()
        if self.learn:
            course.state = self.method.init(learner)
        if saved is not None:
            course.load_state_dict(saved)
            return course
        ctx.metric("buffer_capacity", blueprint.capacity)
        ctx.metric("buffer_nbytes", blueprint.buffer_bytes)
        ctx.metric("parameters", blueprint.net.size)
        if self.learn:
            self._examine(ctx, course, "untrained", -1)
        return course

    # Learning

    def _learn(self, ctx: Context, course: Course, length: Length) -> Asking:
        """Learn one task and be examined."""
        learner, method, state, task = course.learner, self.method, course.state, course.task
        samples = task_samples(learner.stream, task, everything=method.sees_all)
        if course.step == 0:
            method.begin_task(learner, state)
            yield from self._pay(ctx, learner, "begin task")
        for step in range(course.step, length.steps):
            learner.epoch, place = divmod(step, length.per_epoch)
            if place == 0:
                method.begin_epoch(learner, state)
                yield from self._pay(ctx, learner, "begin epoch")
            batch = self._batch(ctx, samples, task, learner.epoch, place)
            yield from self._await_frames(ctx, step, length, course.began_s, len(samples))
            loss = method.step(learner, state, batch)
            learner.steps += 1
            yield from self._pay(ctx, learner, "step")
            if place == length.per_epoch - 1 or step == length.steps - 1:
                ctx.metric("train_loss", float(loss), step=learner.steps)
                method.end_epoch(learner, state)
                yield from self._pay(ctx, learner, "end epoch")
                if self.examine == "epoch" and step < length.steps - 1:
                    self._examine(ctx, course, "under_way", learner.steps)
            course.step = step + 1
            ctx.progress((task + course.step / length.steps) / course.blueprint.tasks)
            if self.save_every and learner.steps % self.save_every == 0 and step < length.steps - 1:
                ctx.save(learner.steps, course.state_dict())
        method.end_task(learner, state)
        yield from self._pay(ctx, learner, "end task")
        if self.recalibrate_bn and learner.remembers:
            recalibrate(learner)
            yield from self._pay(ctx, learner, "recalibrate")
        self._examine(ctx, course, "examined", learner.task)
        if learner.buffer is not None:
            ctx.metric("buffer_samples", len(learner.buffer), step=task)

    def _batch(self, ctx: Context, samples: Samples, task: int, epoch: int, place: int) -> Batch:
        """Return the samples of a step: a new order in every epoch, the same for all arms of a seed."""
        order = ctx.fresh_rng("order", task, epoch).permutation(len(samples))
        chosen = torch.from_numpy(order[place * self.batch : (place + 1) * self.batch])
        return Batch(samples.images[chosen], samples.labels[chosen], chosen)

    def _await_frames(self, ctx: Context, step: int, length: Length, began_s: float, samples: int) -> Asking:
        """Wait until the samples of a step of the first epoch have arrived."""
        if self.frames_per_s is not None and step < length.per_epoch:
            there_s = began_s + min((step + 1) * self.batch, samples) / self.frames_per_s
            if there_s > ctx.now:
                yield ctx.sleep(there_s - ctx.now)

    def _pay(self, ctx: Context, learner: Learner, phase: str) -> Asking:
        """Charge what the learner did since it last paid."""
        work = learner.net.meter.take()
        if any(work):
            yield ctx.compute(work, phase)
        read, written = learner.take_traffic()
        if self.buffer.place == "storage" and (read or written):
            yield ctx.store(read, written, "replay memory")

    def _examine(self, ctx: Context, course: Course, kind: str, step: int) -> None:
        """Record accuracies by task (``class_il``, ``task_il``) and by class, as *kind* ``examined``, ``untrained`` or ``under_way``."""
        learner = course.learner
        named = learner.num_classes if self.eval_heads == "all" or kind == "untrained" else learner.seen
        found = examine(self.method, learner, course.state, named)
        for name, values in (("class_il", found.class_il), ("task_il", found.task_il), ("per_class", found.per_class)):
            for place, value in enumerate(values):
                ctx.metric(f"{kind}:{name}", value, who=str(place), step=step)
        known = range(learner.stream.tasks) if kind == "untrained" else range(learner.task + 1)
        ctx.metric("seen_accuracy", sum(found.class_il[task] for task in known) / len(known), step=step)

    # Pricing without learning

    def _pretend(self, ctx: Context, course: Course, plan: TaskPlan, length: Length) -> Asking:
        """Charge what a task would take; what the memory takes in is its expectation."""
        done = 0
        for charges in plan.costs:
            work, read, written = charges.each
            for inserted in charges.inserted_bytes.tolist():
                if any(work):
                    yield ctx.compute(work, charges.phase)
                if self.buffer.place == "storage" and (read or written or inserted):
                    yield ctx.store(read, written + inserted, "replay memory")
                if charges.phase == "step":
                    done += 1
                    ctx.progress((course.task + done / length.steps) / course.blueprint.tasks)

    # The report

    def summarise(self, ledger: pd.DataFrame, metrics: pd.DataFrame) -> list[tuple[str, str, float]]:
        from toolkit.methods.continual.report import summarise_run

        return summarise_run(ledger, metrics)

    def view(self) -> str:
        return "toolkit.methods.continual.figures:CONTINUAL_VIEW"

    def answers(self, result: Result) -> list[str]:
        from toolkit.methods.continual.answers import continual_answers

        return continual_answers(result)
