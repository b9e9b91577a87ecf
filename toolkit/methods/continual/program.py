"""Continual learning on an edge device: the loop that all methods of this family share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import torch

from toolkit.core.context import Asking, Context, PeerLost
from toolkit.core.fabric import Fabric
from toolkit.core.machines import Needs
from toolkit.core.program import Estimate, Process, Program
from toolkit.errors import ScenarioError
from toolkit.learning.random import torch_generator
from toolkit.learning.train_state import check_finite
from toolkit.methods.accelerator import accelerator
from toolkit.methods.continual import ContinualMethod
from toolkit.methods.continual.accelerator import placed
from toolkit.methods.continual.answering import leave_networks
from toolkit.methods.continual.batch import Batch
from toolkit.methods.continual.evaluation import evaluate, recalibrate
from toolkit.methods.continual.keeping import kept_by
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.plan import StepCount, TaskPlan, task_samples
from toolkit.methods.continual.run_plan import RunPlan, unweighted
from toolkit.methods.continual.spec import ContinualSettings
from toolkit.methods.continual.storage import BufferStorage
from toolkit.methods.loop import training_loop

if TYPE_CHECKING:
    import numpy as np

    from toolkit.core.device import Device


@dataclass
class ContinualState:
    """A run under way: the learner, the method's state, and where they are."""

    method: ContinualMethod
    run_plan: RunPlan
    learner: Learner
    state: Any
    device: Device | None
    task: int = 0
    step: int = 0
    """Steps of this task that are done."""
    began_s: float = 0.0
    """When this task began."""

    @property
    def total_steps(self) -> int:
        return self.learner.steps

    def state_dict(self) -> dict[str, Any]:
        return {
            "learner": self.learner.state_dict(), "state": self.method.keep(self.state), "task": self.task, "step": self.step,
            "began_s": self.began_s,
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.learner.load_state_dict(saved["learner"])
        self.state = self.method.resume(self.learner, self.state, saved["state"])
        self.task, self.step, self.began_s = saved["task"], saved["step"], saved["began_s"]


@final
class Continual(ContinualSettings, Program):
    """One machine learns the tasks of a stream one after the other and is examined on all of them after each.

    Samples of a task arrive `frames_per_s` (or are all there at once), are learnt within `budget` and are gone with the task; only what
    the method put into the replay memory stays. Computing is charged by what the network's calls ask, one charge per step; reading and
    writing the memory by its bytes; examinations cost nothing.

    The metric `train_loss` is what the last step of an epoch descended, with the penalty of a method that has one (SI, EWC …) in it; how
    much of it that was says `train_penalty`.
    """

    def needs(self) -> Needs:
        return Needs("continual learning", workers=(1, 1))

    def check(self, fabric: Fabric) -> None:
        if self.budget.flops is not None and self.budget.time_s is not None:
            raise ScenarioError("program.budget: flops and time_s are both given; give one")
        accelerator(self.accelerator)
        if self.task.blank is not None and self.learn:
            raise ScenarioError("program.task.blank: there is nothing to learn from images without content; set program.learn: false")
        run_plan = unweighted(self)
        if self.buffer.dtype == "uint8" and run_plan.net.has_front:
            raise ScenarioError("program.buffer.dtype: uint8 keeps pixels, and this method keeps maps; use float32, float16 or int8")
        device, name = fabric.machines().first, self.method.type_name()
        if self.buffer.choice == "balanced" and self.method.replays and not self.method.inserts:
            raise ScenarioError(f"program.buffer.choice: {name} chooses itself which samples it keeps; leave it out")
        if self.stream.blur and not self.method.blurs:
            raise ScenarioError(f"program.stream.blur: {name} takes a task's classes for new ones and needs sharp borders; leave it out")
        self.method.check(run_plan.stream, run_plan.capacity)
        with _single_samples_told():
            needed = max(run_plan.memory_bytes(run_plan.plan(task, device)) for task in range(run_plan.tasks))
        device.check_fits(needed, f"{self.task.model.name} with {name} at batch {self.batch}")
        if self.buffer.place == "storage" and run_plan.capacity:
            device.check_fits(run_plan.buffer_bytes, f"a replay memory of {run_plan.capacity} samples", "storage")

    def run_plan(self, weights: torch.Generator, rng: np.random.Generator) -> RunPlan:
        """Return the run's plan with a new network; *weights* draws them, *rng* the stream's order."""
        return RunPlan.draw(self, weights, rng)

    def estimate(self, fabric: Fabric) -> Estimate | None:
        """The closed form of a run with `learn` false, on the first machine of the cluster; frames are not waited for."""
        return unweighted(self).estimate(fabric.machines().first)

    def feedback(self) -> str:
        return "the time that steps take decides how many there are (budget.time_s)" if self.budget.time_s is not None else ""

    def run(self, ctx: Context) -> Process:
        torch.set_num_threads(self.threads)
        yield from self.go_on(ctx, self.begin(ctx))

    def go_on(self, ctx: Context, course: ContinualState) -> Process:
        """Learn what of the stream is left to *course*."""
        run_plan = course.run_plan
        for task in range(course.task, run_plan.tasks):
            step_count = run_plan.step_count(task, course.device)
            plan = run_plan.plan(task, course.device)
            if not course.step:
                ctx.metric("memory_nbytes", run_plan.memory_bytes(plan), step=task)
                for part, flops in plan.step_parts.items():
                    ctx.metric("step_flops", flops, who=part, step=task)
                course.began_s = ctx.now
            learner = course.learner
            learner.task = run_plan.stream.tasks - 1 if self.method.sees_all else task
            learner.epochs = step_count.epochs
            learner.last_epoch = max(0, step_count.steps // step_count.per_epoch - 1)
            yield from self._learn(ctx, course, step_count) if self.learn else self._pretend(ctx, course, plan, step_count)
            course.task, course.step = task + 1, 0
            if self.learn:
                ctx.save(learner.steps, course.state_dict())
        if self.learn:
            leave_networks(ctx, self.task, self.method, course.learner, course.state)

    def begin(self, ctx: Context) -> ContinualState:
        """Build the learner, or take up a stopped one."""
        run_plan = self.run_plan(torch_generator(ctx.shared_rng("model")), ctx.shared_rng("stream"))
        run_plan = placed(run_plan, accelerator(self.accelerator))
        learner = Learner(
            run_plan.stream, run_plan.net, shared_rng=ctx.shared_rng, batch=self.batch, replay=self.replay, lr=self.lr, bn=self.bn,
            augment=self.augment, storage=BufferStorage(self.buffer.dtype), capacity=run_plan.capacity,
            sgd=self.sgd, balanced=self.buffer.choice == "balanced",
        )
        learner.net.train()
        course = ContinualState(self.method, run_plan, learner, None, getattr(ctx, "device", None))
        saved = ctx.saved()
        if self.learn:
            course.state = self.method.init(learner)
        if saved is not None:
            course.load_state_dict(saved)
            return course
        ctx.metric("buffer_capacity", run_plan.capacity)
        ctx.metric("buffer_nbytes", run_plan.buffer_bytes)
        ctx.metric("parameters", run_plan.net.size)
        for task in range(run_plan.stream.tasks):
            ctx.metric("task_classes", len(run_plan.stream.task_classes(task)), who=str(task))
        if self.learn:
            self.record_evaluation(ctx, course, "untrained", -1)
        return course

    # Learning

    def _learn(self, ctx: Context, course: ContinualState, step_count: StepCount) -> Asking:
        """Learn one task and be examined."""
        learner, method, state, task = course.learner, self.method, course.state, course.task
        trainer = TaskTrainer(self, ctx, course, step_count)
        if course.step == 0:
            method.begin_task(learner, state)
            yield from self.pay(ctx, learner, "begin task")
        yield from training_loop(ctx, course, trainer, steps=step_count.steps, evaluate_every=None, save_every=self.save_every or None)
        method.end_task(learner, state)
        yield from self.pay(ctx, learner, "end task")
        if self.recalibrate_bn and learner.remembers:
            recalibrate(learner)
            yield from self.pay(ctx, learner, "recalibrate")
        self.record_evaluation(ctx, course, "examined", learner.task)
        for name, nbytes in kept_by(method, learner, state)._asdict().items():
            ctx.metric(name, nbytes, step=task)
        if learner.buffer is not None:
            ctx.metric("buffer_samples", len(learner.buffer), step=task)

    def pay(self, ctx: Context, learner: Learner, phase: str) -> Asking:
        """Charge what the learner did since it last paid."""
        work = learner.net.meter.take()
        if any(work):
            yield ctx.compute(work, phase)
        read, written = learner.take_traffic()
        if self.buffer.place == "storage" and (read or written):
            yield ctx.store(read, written, "replay memory")

    def record_evaluation(self, ctx: Context, course: ContinualState, kind: str, step: int) -> None:
        """Record accuracies by task (``class_il``, ``task_il``) and by class, as *kind* ``examined``, ``untrained`` or ``under_way``."""
        learner = course.learner
        named = learner.num_classes if self.eval_classes == "all" or kind == "untrained" else learner.seen
        found = evaluate(self.method, learner, course.state, named)
        for name, values in (("class_il", found.class_il), ("task_il", found.task_il), ("per_class", found.per_class)):
            for place, value in enumerate(values):
                ctx.metric(f"{kind}:{name}", value, who=str(place), step=step)
        known = range(learner.stream.tasks) if kind == "untrained" else range(learner.task + 1)
        ctx.metric("seen_accuracy", sum(found.class_il[task] for task in known) / len(known), step=step)

    # Pricing without learning

    def _pretend(self, ctx: Context, course: ContinualState, plan: TaskPlan, step_count: StepCount) -> Asking:
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
                    ctx.progress((course.task + done / step_count.steps) / course.run_plan.tasks)

@contextmanager
def _single_samples_told() -> Iterator[None]:
    """Say in one sentence that BatchNorm would meet a single value per channel, which torch finds when a step is tried."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        what = "a task's last batch has one sample, whose maps are one pixel, and BatchNorm cannot normalise a single value"
        raise ScenarioError(f"program.batch: {what}; set program.drop_last: true, or another batch") from error


class TaskTrainer:
    """The steps of one task, epochs' beginnings and ends among them."""

    rate_key = "program.lr"

    def __init__(self, program: Continual, ctx: Context, course: ContinualState, step_count: StepCount) -> None:
        self.program, self.ctx, self.course, self.step_count = program, ctx, course, step_count
        self.who = f"{program.task.model.name} with {program.method.type_name()}"
        self._samples = task_samples(course.learner.stream, course.task, everything=program.method.sees_all)

    def take_step(self) -> Asking:
        program, ctx, course, step_count = self.program, self.ctx, self.course, self.step_count
        learner, method, state = course.learner, program.method, course.state
        learner.epoch, place = divmod(course.step, step_count.per_epoch)
        if place == 0:
            method.begin_epoch(learner, state)
            yield from program.pay(ctx, learner, "begin epoch")
        batch = self._batch(place)
        yield from self._await_frames()
        learner.begin_step(program.sgd.rate(program.lr, course.step / step_count.steps))
        loss = method.step(learner, state, batch)
        gradients = [weight.grad for weight in learner.parameters if weight.grad is not None]
        check_finite(loss, *gradients, step=learner.steps, rate=learner.lr)
        learner.steps += 1
        yield from program.pay(ctx, learner, "step")
        last = course.step == step_count.steps - 1
        if place == step_count.per_epoch - 1 or last:
            ctx.metric("train_loss", float(loss), step=learner.steps)
            if learner.penalty is not None:
                ctx.metric("train_penalty", float(learner.penalty), step=learner.steps)
            method.end_epoch(learner, state)
            yield from program.pay(ctx, learner, "end epoch")
            if program.evaluate == "epoch" and not last:
                program.record_evaluation(ctx, course, "under_way", learner.steps)

    def step_done(self) -> None:
        course = self.course
        self.ctx.progress((course.task + course.step / self.step_count.steps) / course.run_plan.tasks)

    def evaluate(self) -> None:
        """Examinations belong to tasks and epochs, not to steps."""

    def peer_lost(self, lost: PeerLost) -> Asking:
        raise lost  # one machine has no peers

    def _batch(self, place: int) -> Batch:
        """Return the samples of a step: a new order in every epoch, the same for all arms of a seed."""
        samples, size = self._samples, self.program.batch
        order = self.ctx.shared_rng("order", self.course.task, self.course.learner.epoch).permutation(len(samples))
        chosen = torch.from_numpy(order[place * size : (place + 1) * size]).to(self.course.learner.device)
        return Batch(samples.images[chosen], samples.labels[chosen], chosen)

    def _await_frames(self) -> Asking:
        """Wait until the samples of a step of the first epoch have arrived."""
        program, course, ctx = self.program, self.course, self.ctx
        if program.frames_per_s is not None and course.step < self.step_count.per_epoch:
            there_s = course.began_s + min((course.step + 1) * program.batch, len(self._samples)) / program.frames_per_s
            if there_s > ctx.now:
                yield ctx.sleep(there_s - ctx.now)
