"""Supervised training of one network on one machine, then the price of using it there."""

from __future__ import annotations

from typing import final

import torch
from pydantic import Field
from torch import Tensor

from toolkit.core.context import Asking, Context, PeerLost
from toolkit.core.fabric import Fabric
from toolkit.core.machines import Needs
from toolkit.core.program import Estimate, Process, Program
from toolkit.errors import ScenarioError
from toolkit.learning.dropblock import set_drop
from toolkit.learning.random import torch_generator
from toolkit.learning.train_state import TrainState
from toolkit.methods.classification import Classification
from toolkit.methods.loop import training_loop
from toolkit.methods.task import TaskSpec
from toolkit.methods.trained import hand_out
from toolkit.methods.training.costs import estimate, finished, inferences, sizes_in_use, updated, work_in_use, work_of_step
from toolkit.methods.training.recipe import Recipe
from toolkit.models.evolving import Evolving


@final
class Training(Program):
    """One machine trains a network by a recipe and then classifies the test set, in each of several batch sizes.

    Work: a step costs loading, augmentation, gradient and update, an inference its forward pass, as `toolkit.learning.work` counts them,
    each kernel being one launch. Evaluations cost nothing. A CondenseNet condenses on the way, is counted
    as dense while it trains, and used condensed.
    """

    task: TaskSpec = Field(TaskSpec(), description="data set and network")
    recipe: Recipe = Field(Recipe(), description="how it is trained")
    evaluate_every: int = Field(1, ge=1, description="epochs between two evaluations")
    inference_batches: list[int] = Field(default_factory=lambda: [1, 32], min_length=1, description="batch sizes of the priced inferences")
    save_every: int = Field(1, ge=1, description="epochs between two checkpoints, of drivers that keep any")
    threads: int = Field(1, ge=1, description="CPU threads of torch; more may change last bits, and so break repeatability")

    def needs(self) -> Needs:
        return Needs("training", workers=(1, 1), hint="; for several there is type: distributed")

    def check(self, fabric: Fabric) -> None:
        if min(self.inference_batches) < 1:
            raise ScenarioError(f"program.inference_batches: every batch needs at least 1 image (got {self.inference_batches})")
        task = self.task.load()
        count = len(task.data.train_labels)
        if count < self.recipe.batch:
            raise ScenarioError(f"program.recipe.batch: {self.recipe.batch} images per step, and the training set has {count}")
        side = min(task.data.train_images.shape[2:])
        for name in ("crop_padding", "cutout"):
            if getattr(self.recipe, name) > side:
                raise ScenarioError(f"program.recipe.{name}: {getattr(self.recipe, name)} pixels, and images have sides of {side}")
        fabric.machines().check_memory(task.memory_bytes(self.recipe.batch), f"{self.task.model.name} at batch {self.recipe.batch}")

    def estimate(self, fabric: Fabric) -> Estimate | None:
        """The closed form of a run."""
        return estimate(self.task, self.recipe, self.inference_batches, fabric.machines().first)

    def run(self, ctx: Context) -> Process:
        torch.set_num_threads(self.threads)
        task = self.task.load()
        per_epoch = max(1, len(task.data.train_labels) // self.recipe.batch)
        state = self._begin(ctx, task)
        trainer = RecipeTrainer(self, ctx, task, state, per_epoch)
        yield from training_loop(
            ctx, state, trainer, steps=self.recipe.epochs * per_epoch, evaluate_every=self.evaluate_every * per_epoch,
            save_every=self.save_every * per_epoch,
        )
        finished(state.model)
        trainer.evaluate()
        hand_out(ctx, state.model, self.task.model, task.data, accuracy=trainer.accuracy, finished=True)
        yield from self._use(ctx, task)

    def _begin(self, ctx: Context, task: Classification) -> TrainState[Tensor]:
        """Return a new network with its momentum, or the one that was kept."""
        state = TrainState.create(task.build(torch_generator(ctx.shared_rng("model"))).to(ctx.accelerator), torch.zeros(0))
        state.optimiser = torch.zeros_like(state.weights if self.recipe.momentum else state.weights[:0])
        saved = ctx.saved()
        if saved is not None:
            state.load_state_dict(saved)
        return state

    def _use(self, ctx: Context, task: Classification) -> Asking:
        """Classify the test set in batches of each size; what does not fill a batch is left out."""
        for name, value in sizes_in_use(self.task).items():
            ctx.metric(name, value)
        for batch in self.inference_batches:
            work = work_in_use(self.task, batch)
            ctx.metric("kernels", 1 + work.launches, who=str(batch))
            for _ in range(inferences(len(task.data.test_labels), batch)):
                yield ctx.compute(work, f"inference_{batch}")


class RecipeTrainer:
    """The steps of a recipe."""

    rate_key = "program.recipe.lr"

    def __init__(self, program: Training, ctx: Context, task: Classification, state: TrainState[Tensor], per_epoch: int) -> None:
        self.program, self.ctx, self.task, self.state, self.per_epoch = program, ctx, task, state, per_epoch
        self.who = program.task.model.name
        black = task.data.normalise(torch.zeros_like(task.data.train_images[:1, :, :1, :1]))[0]
        self._black = black.to(ctx.accelerator)
        self._losses: list[float] = []
        """Of this epoch's steps."""
        self.accuracy = float("nan")
        """On the test set, when it was last used."""

    def take_step(self) -> Asking:
        recipe, ctx, state, step = self.program.recipe, self.ctx, self.state, self.state.step
        images, labels = (tensor.to(ctx.accelerator) for tensor in self.task.batch(ctx, step, recipe.batch))
        images, targets = recipe.prepared(images, labels, self._black, self.task.data.num_classes, ctx.shared_rng, step)
        rate = recipe.drop_at(step, self.per_epoch)
        set_drop(state.model, rate, torch_generator(ctx.shared_rng("drop", step)) if rate else None)
        if not state.model.training:  # going through all modules takes longer than a small layer
            state.model.train()
        loss = self.task.loss(state.model, _channels_last(images), targets)
        penalty = recipe.group_lasso * state.model.penalty() if isinstance(state.model, Evolving) else 0.0
        lr = recipe.lr_at(step, self.per_epoch)
        state.backward(loss + penalty, rate=lr)
        updated(state.weights, state.gradient, state.optimiser, lr, recipe)
        self._losses.append(float(loss.detach()))
        yield ctx.compute(work_of_step(self.program.task, recipe), "gradient")

    def step_done(self) -> None:
        state, steps = self.state, self.program.recipe.epochs * self.per_epoch
        if isinstance(state.model, Evolving):
            state.model.advance(state.step / steps)
        if state.step % self.per_epoch == 0:
            self.ctx.metric("train_loss", sum(self._losses) / self.per_epoch, step=state.step)
            self._losses.clear()
            self.ctx.progress(state.step / steps)

    def evaluate(self) -> None:
        found = self.task.evaluate(self.state.model)
        self.accuracy = found["test_accuracy"]
        for name, value in found.items():
            self.ctx.metric(name, value, step=self.state.step)

    def peer_lost(self, lost: PeerLost) -> Asking:
        raise lost  # one machine has no peers


def _channels_last(images: Tensor) -> Tensor:
    """A copy whose channels are neighbours in memory, in which most networks train faster on CPUs."""
    return torch.empty_like(images, memory_format=torch.channels_last).copy_(images)
