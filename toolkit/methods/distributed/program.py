"""Distributed SGD: the training loop that all methods of this family share, written once per worker."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Any, Literal, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from toolkit.core.context import Asking, Context, PeerLost
from toolkit.core.fabric import Fabric
from toolkit.core.program import Process, Program
from toolkit.core.work import Work
from toolkit.errors import ScenarioError
from toolkit.learning.flat import Layout, adopt
from toolkit.learning.random import torch_generator
from toolkit.methods.distributed import Method, Step
from toolkit.methods.task import Task, TaskSpec

HUGE = 1e9
"""A weight beyond this belongs to a training that has diverged."""


@dataclass
class Training:
    """What one worker has at hand: the model, its weights and gradient as flat vectors, and the method's state."""

    model: nn.Module
    weights: Tensor
    gradient: Tensor
    state: Any
    step: int = 0
    past: list[tuple[int, Tensor, Any]] = field(default_factory=list)
    """The beginnings of the last two steps (step, weights, state), kept only where a peer may be lost."""

    def keep(self) -> None:
        self.past = [*self.past[-1:], (self.step, self.weights.clone(), copy.deepcopy(self.state))]

    def go_back(self, step: int) -> None:
        """Return to the beginning of *step*, which is this worker's last or last but one."""
        then, weights, state = next(entry for entry in self.past if entry[0] == step)
        self.step, self.state = then, copy.deepcopy(state)
        self.weights.copy_(weights)


@final
class DistributedSgd(Program):
    """Synchronous data-parallel SGD: each worker takes the gradient of its own batch, and `method` makes one step of all of them.

    Work: a gradient costs what `toolkit.learning.work` counts for model and batch; what the method computes and sends, it charges
    itself. Evaluations cost no simulated time. If a worker is lost, the others go back to the beginning of the earliest unfinished step
    and share its data; what only it knew (error feedback, momentum) is lost with it.
    """

    task: TaskSpec = TaskSpec()
    method: Method
    steps: int = Field(300, ge=1, description="steps of training")
    batch: int = Field(16, ge=1, description="samples per worker and step")
    lr: float = Field(0.1, gt=0, description="learning rate at its highest")
    warmup_steps: int = Field(0, ge=0, description="steps in which the learning rate rises from near zero")
    decay: Literal["none", "cosine", "linear"] = Field("none", description="how the learning rate falls to zero")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty")
    evaluate_every: int = Field(25, ge=1, description="steps between two evaluations")
    threads: int = Field(1, ge=1, description="CPU threads of torch; more may change last bits, and so break repeatability")
    save_every: int = Field(50, ge=1, description="steps between two checkpoints, of drivers that keep any")
    targets: list[float] = Field(default_factory=list, description="test accuracies whose first reaching is reported")

    def check(self, fabric: Fabric) -> None:
        from toolkit.cluster.fabric import Cluster

        if not isinstance(fabric, Cluster):
            raise ScenarioError(f"program: distributed SGD needs fabric: cluster, and this is '{fabric.type_name()}'")
        if self.method.needs_servers and not fabric.servers:
            raise ScenarioError(f"fabric.servers: {self.method.type_name()} needs at least 1 server (got 0)")
        if not self.method.needs_servers and fabric.servers:
            raise ScenarioError(f"fabric.servers: {self.method.type_name()} has no use for servers; set it to 0 (got {fabric.servers})")
        task = self.task.load()
        smallest = len(task.data.train_labels) // fabric.workers
        if smallest < self.batch:
            raise ScenarioError(
                f"program.batch: {self.batch} samples per step, and {fabric.workers} workers share {len(task.data.train_labels)} "
                f"({smallest} each); use fewer workers or a smaller batch"
            )
        need = task.memory_bytes(self.batch)
        for name in fabric.wiring().nodes[: fabric.workers]:
            fabric.device_of(name).check_fits(need, f"{self.task.model.name} at batch {self.batch} on {name}")

    def feedback(self) -> str:
        return ""

    def run(self, ctx: Context) -> Process:
        torch.set_num_threads(self.threads)
        task = self.task.load()
        if ctx.is_server:
            yield from self._serve(ctx, task.layout)
            return
        training = self._begin(ctx, task)
        if ctx.rank == 0 and not training.step:
            for target in self.targets:
                ctx.metric("target", target)
        while training.step < self.steps:
            try:
                yield from self._one_step(ctx, task, training)
            except PeerLost as lost:
                yield from self._recover(ctx, training, lost)
        self._evaluate(ctx, task, training)

    def _serve(self, ctx: Context, layout: Layout) -> Asking:
        state = self.method.init(ctx, layout)
        saved = ctx.saved()
        begin = 0
        if saved is not None:
            begin, state = saved["step"], saved["state"]
        for index in range(begin, self.steps):
            yield from self.method.serve(ctx, state, layout, Step(index, self._lr(index)))
            if (index + 1) % self.save_every == 0:
                ctx.save(index + 1, {"step": index + 1, "state": state})

    def _begin(self, ctx: Context, task: Task) -> Training:
        """All workers begin with the same weights, or with what they kept."""
        model = task.build(torch_generator(ctx.fresh_rng("model"))).to(ctx.accelerator)
        weights = adopt(model)
        gradient = torch.zeros_like(weights)
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for parameter, view in zip(parameters, task.layout.split(gradient), strict=True):
            parameter.grad = view
        training = Training(model, weights, gradient, self.method.init(ctx, task.layout))
        saved = ctx.saved()
        if saved is not None:
            training.step, training.state = saved["step"], saved["state"]
            weights.copy_(saved["weights"])
            for buffer, kept in zip(model.buffers(), saved["buffers"], strict=True):
                buffer.copy_(kept)
        return training

    def _one_step(self, ctx: Context, task: Task, training: Training) -> Asking:
        if ctx.may_lose_peers:
            training.keep()
        if training.step % self.evaluate_every == 0:
            self._evaluate(ctx, task, training)
        images, labels = (tensor.to(ctx.accelerator) for tensor in task.batch(ctx, training.step, self.batch))
        training.gradient.zero_()
        training.model.train()
        loss = functional.cross_entropy(training.model(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        if not torch.isfinite(training.gradient).all():  # diverged: the record shows it, and no method is fed what has no order
            training.gradient.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
            ctx.metric("diverged", 1.0, who=str(ctx.node), step=training.step)
        if self.weight_decay:
            training.gradient.add_(training.weights, alpha=self.weight_decay)
        yield ctx.compute(Work(*task.gradient_work(self.batch)), "gradient")
        step = Step(training.step, self._lr(training.step))
        try:
            yield from self.method.step(ctx, training.state, training.weights, training.gradient, step)
        except ValueError as error:
            if torch.isfinite(training.weights).all() and float(training.weights.abs().max()) < HUGE:
                raise
            raise ScenarioError(
                f"program.lr: training with {self.method.type_name()} diverged by step {training.step} at a rate of {step.lr:g} ({error}); "
                "use a lower one"
            ) from error
        training.step += 1
        if training.step % self.save_every == 0 or training.step == self.steps:
            buffers = [buffer.clone() for buffer in training.model.buffers()]
            kept = {"step": training.step, "state": training.state, "weights": training.weights, "buffers": buffers}
            ctx.save(training.step, kept)
        if ctx.rank == 0:
            ctx.metric("train_loss", float(loss.detach()), step=training.step)
            ctx.progress(training.step / self.steps)

    def _lr(self, index: int) -> float:
        """The learning rate of a step: a linear rise, then the chosen fall to zero at the end."""
        if index < self.warmup_steps:
            return self.lr * (index + 1) / self.warmup_steps
        if self.decay == "none":
            return self.lr
        done = (index - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.lr * (0.5 * (1 + math.cos(math.pi * done)) if self.decay == "cosine" else 1 - done)

    def _evaluate(self, ctx: Context, task: Task, training: Training) -> None:
        """Record test loss and accuracy of the first worker's model, which is that of all."""
        if ctx.rank:
            return
        loss, accuracy = task.evaluate(training.model)
        ctx.metric("test_loss", loss, step=training.step)
        ctx.metric("test_accuracy", accuracy, step=training.step)

    def _recover(self, ctx: Context, training: Training, lost: PeerLost) -> Asking:
        """Go on without a lost worker: wait for the new group, agree on the step, and go back to its beginning."""
        while True:
            try:
                yield ctx.sleep(lost.restart_s)
                steps = yield from ctx.all_gather(torch.tensor([training.step]), "recovery")
                training.go_back(min(int(step) for step in steps))
                if ctx.rank == 0:
                    ctx.metric("recovered", 1.0, who=str(lost.node), step=training.step)
                return
            except PeerLost as another:
                lost = another
