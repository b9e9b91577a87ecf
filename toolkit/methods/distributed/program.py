"""Distributed SGD: the training loop that all methods of this family share, written once per worker."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any, Literal, final

import torch
from pydantic import Field
from torch import Tensor

from toolkit.core.bounds import Share
from toolkit.core.context import Asking, Context, PeerLost
from toolkit.core.fabric import Fabric, Sending
from toolkit.core.machines import Needs
from toolkit.core.program import Estimate, Process, Program
from toolkit.errors import DivergenceError, ScenarioError
from toolkit.learning.finite import NotFiniteError
from toolkit.learning.flat import FlatLayout
from toolkit.learning.plain_state import plain, restored
from toolkit.learning.random import torch_generator
from toolkit.learning.train_state import TrainState
from toolkit.methods.classification import Classification
from toolkit.methods.distributed import ExchangeMethod, Step
from toolkit.methods.distributed.buckets import MEBIBYTE, Bucket, buckets_of, pieces, step_by_part
from toolkit.methods.distributed.estimate import estimate
from toolkit.methods.loop import training_loop
from toolkit.methods.task import TaskSpec
from toolkit.methods.trained import hand_out

HUGE = 1e9
"""A weight beyond this belongs to a training that has diverged."""


@final
class DistributedSgd(Program):
    """Synchronous data-parallel SGD: each worker takes the gradient of its own batch, and `method` makes one step of all of them.

    Work: a gradient costs what `toolkit.learning.work` counts for model and batch, every kernel of it, the loading of the batch, the
    loss and the sums of gradients among them; what the method computes and sends, it charges itself. Evaluations cost no simulated time.
    With `overlap` the parts of the gradient are exchanged one after the other as the backward pass gives them: summed (dense,
    parameter_server), or each by itself, with scales and memory of its own (qsgd, terngrad, signsgd, ef_signsgd, one_bit, dgc, powersgd).
    Methods that choose among all coordinates begin with the whole.
    If a worker is lost, the others go back to the beginning of the earliest unfinished step
    and share its data; what only it knew (error feedback, momentum) is lost with it.
    """

    task: TaskSpec = Field(TaskSpec(), description="data set and network")
    method: ExchangeMethod = Field(description="how gradients are exchanged")
    steps: int = Field(300, ge=1, description="steps of training")
    batch: int = Field(16, ge=1, description="samples per worker and step")
    lr: float = Field(0.1, gt=0, description="learning rate at its highest")
    warmup_steps: int = Field(0, ge=0, description="steps in which the learning rate rises from near zero")
    decay: Literal["none", "cosine", "linear"] = Field("none", description="how the learning rate falls to zero")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty")
    evaluate_every: int = Field(25, ge=1, description="steps between two evaluations")
    threads: int = Field(1, ge=1, description="CPU threads of torch; more may change last bits, and so break repeatability")
    save_every: int = Field(50, ge=1, description="steps between two checkpoints, of drivers that keep any")
    overlap: bool = Field(True, description="exchange parts of the gradient during the backward pass, as DDP does; of methods that can")
    bucket_bytes: int = Field(25 * MEBIBYTE, ge=4, description="bytes after which a part of the gradient is full")
    first_bucket_bytes: int = Field(MEBIBYTE, ge=4, description="the same of the first part, which begins early")
    learn: bool = Field(True, description="false: nothing is learnt; gradients are stand-ins, and steps cost what they would")
    targets: list[Share] = Field(default_factory=list, description="test accuracies whose first reaching is reported")

    def needs(self) -> Needs:
        servers = (1, None) if self.method.needs_servers else (0, 0)
        return Needs(self.method.type_name(), servers=servers, accepts_partial=self.method.partial)

    def check(self, fabric: Fabric) -> None:
        machines = fabric.machines()
        task, workers = self.task.load(), len(machines.workers)
        smallest = len(task.data.train_labels) // workers
        if smallest < self.batch:
            raise ScenarioError(
                f"program.batch: {self.batch} samples per step, and {workers} workers share {len(task.data.train_labels)} "
                f"({smallest} each); use fewer workers or a smaller batch"
            )
        machines.check_memory(task.memory_bytes(self.batch), f"{self.task.model.name} at batch {self.batch}")

    def sending(self, fabric: Fabric) -> Sending | None:
        if len(fabric.machines().workers) == 1:
            return None
        nbytes = self.method.wire_bytes(self.task.load().layout)
        period = self.method.cycle  # those that send once in a while say what that is per step
        return Sending(nbytes * period, self.steps // period, f"{self.method.type_name()} on {self.task.model.name}")

    def estimate(self, fabric: Fabric) -> Estimate | None:
        """The costs of a run with `learn` false, from a few of its steps; None where workers crash, since a crash is no step.

        Nor where the run has no end of its own: at sea no step takes as long as another.
        """
        if fabric.machines().crashes or not fabric.ends_by_itself:
            return None
        method = self.method
        return estimate(
            lambda steps: self.model_copy(update={"steps": steps, "learn": False}), fabric, steps=self.steps,
            settles_after=method.settles_after, cycle=method.cycle, memory_nbytes=self.task.load().memory_bytes(self.batch),
        )

    def feedback(self) -> str:
        return ""

    def run(self, ctx: Context) -> Process:
        torch.set_num_threads(self.threads)
        task = self.task.load()
        if ctx.is_server:
            if self.method.needs_servers:
                yield from self._serve(ctx, task.layout)
            return
        state = self._begin(ctx, task)
        worker = WorkerTrainer(self, ctx, task, state)
        if ctx.leads and not state.step:
            for target in self.targets:
                ctx.metric("target", target)
        yield from training_loop(
            ctx, state, worker, steps=self.steps, evaluate_every=self.evaluate_every if self.learn else None, save_every=self.save_every
        )
        if self.learn:
            worker.evaluate()
            if ctx.leads:
                hand_out(ctx, state.model, self.task.model, task.data, accuracy=worker.accuracy)

    def _serve(self, ctx: Context, layout: FlatLayout) -> Asking:
        state = self.method.init(ctx, layout)
        saved = ctx.saved()
        begin = 0
        arriving = tuple((bucket.runs, None) for bucket in self.buckets())
        if saved is not None:
            begin, state = saved["step"], restored(state, saved["state"])
        for index in range(begin, self.steps):
            yield from self.method.serve(ctx, state, layout, Step(index, self.lr_at(index), arriving))
            if (index + 1) % self.save_every == 0:
                ctx.save(index + 1, {"step": index + 1, "state": plain(state)})

    def buckets(self) -> tuple[Bucket, ...]:
        """Return the parts in which the gradient is exchanged during the backward pass; none where that would be all of it at once."""
        if not self.overlap or not (self.method.overlaps or self.method.by_part):
            return ()
        task = self.task.load()
        counted = task.gradient_count(self.batch)
        found = buckets_of(task.layout, counted, bucket_bytes=self.bucket_bytes, first_bytes=self.first_bucket_bytes)
        return found if len(found) > 1 else ()

    def _begin(self, ctx: Context, task: Classification) -> TrainState[Any]:
        """All workers begin with the same weights, or with what they kept."""
        model = task.build(torch_generator(ctx.shared_rng("model"))).to(ctx.accelerator)
        parts = self.buckets() if self.method.by_part else ()
        own = [self.method.init(ctx, part.tensors) for part in parts] if parts else self.method.init(ctx, task.layout)
        state = TrainState.create(model, own)
        saved = ctx.saved()
        if saved is not None:
            state.load_state_dict(saved)
        return state

    def lr_at(self, index: int) -> float:
        """Return the learning rate of a step: a linear rise, then the chosen fall to zero at the end."""
        if index < self.warmup_steps:
            return self.lr * (index + 1) / self.warmup_steps
        if self.decay == "none":
            return self.lr
        done = (index - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.lr * (0.5 * (1 + math.cos(math.pi * done)) if self.decay == "cosine" else 1 - done)


class WorkerTrainer:
    """One worker's part in every step: the gradient of its own batch, then what the method makes of everybody's."""

    rate_key = "program.lr"

    def __init__(self, program: DistributedSgd, ctx: Context, task: Classification, state: TrainState[Any]) -> None:
        self.program, self.ctx, self.task, self.state = program, ctx, task, state
        self.who = f"{program.task.model.name} with {program.method.type_name()}"
        self.snapshots: list[tuple[int, Tensor, Any]] = []
        """The beginnings of the last two steps (step, weights, optimiser), kept only where a peer may be lost."""
        self._loss = torch.zeros(())
        self.accuracy = float("nan")
        """On the test set, when it was last used."""
        self._buckets = program.buckets()
        work = task.gradient_work(program.batch, decayed=program.weight_decay > 0)
        self._pieces = list(pieces(work, task.gradient_count(program.batch), self._buckets)) if self._buckets else [(work, 1.0)]
        """What is computed until each part of the gradient is there, and its share of the whole."""
        size = 0 if program.learn else state.gradient.numel()
        self._stand_in = torch.randn(size, generator=torch_generator(ctx.shared_rng("stand-in", ctx.rank))).to(ctx.accelerator)
        """What stands for every gradient where nothing is learnt."""

    def take_step(self) -> Asking:
        program, ctx, state = self.program, self.ctx, self.state
        if ctx.may_lose_peers:
            self.snapshots = [*self.snapshots[-1:], (state.step, state.weights.clone(), copy.deepcopy(state.optimiser))]
        if program.learn:
            images, labels = (tensor.to(ctx.accelerator) for tensor in self.task.batch(ctx, state.step, program.batch))
            if not state.model.training:  # going through all modules takes longer than a small layer
                state.model.train()
            self._loss = self.task.loss(state.model, images, labels)
            state.backward(self._loss, rate=program.lr_at(state.step))
        else:
            state.gradient.copy_(self._stand_in)
        if program.weight_decay:
            state.gradient.add_(state.weights, alpha=program.weight_decay)
        step = Step(state.step, program.lr_at(state.step))
        try:
            yield from self._exchange(step)
        except ValueError as error:
            sane = torch.isfinite(state.weights).all() and float(state.weights.abs().max()) < HUGE
            if sane and not isinstance(error, NotFiniteError):
                raise
            raise DivergenceError(str(error), step.index, step.lr) from error

    def _exchange(self, step: Step) -> Asking:
        """Charge the gradient, and let the method make its step, of the parts as they come or of all of it."""
        ctx, state, method = self.ctx, self.state, self.program.method
        if self._buckets and method.by_part:
            yield from step_by_part(
                ctx, method, state.optimiser, state.weights, state.gradient, step, buckets=self._buckets, computing=self._pieces
            )
            return
        done = [ctx.compute(work.beyond_first(), "gradient", share) for work, share in self._pieces]
        if not self._buckets:
            yield done[0]
        arriving = tuple((bucket.runs, ready) for bucket, ready in zip(self._buckets, done, strict=False))
        yield from method.step(ctx, state.optimiser, state.weights, state.gradient, dataclasses.replace(step, arriving=arriving))

    def step_done(self) -> None:
        if self.ctx.leads and self.program.learn:
            self.ctx.metric("train_loss", float(self._loss.detach()), step=self.state.step)
        if self.ctx.leads:
            self.ctx.progress(self.state.step / self.program.steps)

    def evaluate(self) -> None:
        """Record test loss and accuracy of the first worker's model, which is that of all."""
        if self.ctx.leads:
            found = self.task.evaluate(self.state.model)
            self.accuracy = found["test_accuracy"]
            for name, value in found.items():
                self.ctx.metric(name, value, step=self.state.step)

    def peer_lost(self, lost: PeerLost) -> Asking:
        """Wait for the new group, agree on the earliest unfinished step, and go back to its beginning."""
        ctx, state = self.ctx, self.state
        while True:
            try:
                yield ctx.sleep(lost.restart_s)
                steps = yield from ctx.all_gather(torch.tensor([state.step]), "recovery")
                self._go_back(min(int(step) for step in steps))
                if ctx.rank == 0:
                    ctx.metric("recovered", 1.0, who=str(lost.node), step=state.step)
                return
            except PeerLost as another:
                lost = another

    def _go_back(self, step: int) -> None:
        """Return to the beginning of *step*, which is this worker's last or last but one."""
        state = self.state
        state.step, weights, optimiser = next(entry for entry in self.snapshots if entry[0] == step)
        state.optimiser = copy.deepcopy(optimiser)
        state.weights.copy_(weights)
