"""Supervised training of one network on one machine, then the price of using it there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from toolkit.core.context import Asking, Context
from toolkit.core.fabric import Fabric
from toolkit.core.program import Estimate, Process, Program
from toolkit.errors import ScenarioError
from toolkit.learning.dropblock import set_drop
from toolkit.learning.flat import adopt
from toolkit.learning.random import torch_generator
from toolkit.methods.task import Task, TaskSpec
from toolkit.methods.training.costs import estimate, finished, inferences, sizes_in_use, updated, work_in_use, work_of_step
from toolkit.methods.training.recipe import Recipe
from toolkit.models.condensenet import CondenseNet

if TYPE_CHECKING:
    import pandas as pd

    from toolkit.report import Result


@dataclass
class Pupil:
    """A network under training: its weights, gradient and momentum as flat vectors, and how far it is."""

    model: nn.Module
    weights: Tensor
    gradient: Tensor
    momentum: Tensor
    step: int = 0
    losses: list[float] = field(default_factory=list)
    """Of this epoch's steps."""

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step, "weights": self.weights.clone(), "momentum": self.momentum.clone(),
            "buffers": [buffer.clone() for buffer in self.model.buffers()],
            "stages": [layer.stage for layer in self.model.learned()] if isinstance(self.model, CondenseNet) else [],
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.step = saved["step"]
        self.weights.copy_(saved["weights"])
        self.momentum.copy_(saved["momentum"])
        for buffer, kept in zip(self.model.buffers(), saved["buffers"], strict=True):
            buffer.copy_(kept)
        if isinstance(self.model, CondenseNet):
            for layer, stage in zip(self.model.learned(), saved["stages"], strict=True):
                layer.stage = stage


@final
class Training(Program):
    """One machine trains a network by a recipe and then classifies the test set, in each of several batch sizes.

    Work: a step costs augmentation, gradient and update, an inference its forward pass, as `toolkit.learning.work` counts them, each
    kernel being one launch; the loading of data costs nothing. Evaluations cost nothing. A CondenseNet condenses on the way, is counted
    as dense while it trains, and used condensed.
    """

    task: TaskSpec = TaskSpec()
    recipe: Recipe = Recipe()
    evaluate_every: int = Field(1, ge=1, description="epochs between two evaluations")
    inference_batches: list[int] = Field(default_factory=lambda: [1, 32], min_length=1, description="batch sizes of the priced inferences")
    save_every: int = Field(1, ge=1, description="epochs between two checkpoints, of drivers that keep any")
    threads: int = Field(1, ge=1, description="CPU threads of torch; more may change last bits, and so break repeatability")

    def check(self, fabric: Fabric) -> None:
        from toolkit.cluster.fabric import Cluster

        if not isinstance(fabric, Cluster):
            raise ScenarioError(f"program: training needs fabric: cluster, and this is '{fabric.type_name()}'")
        if fabric.workers != 1 or fabric.servers:
            got = f"{fabric.workers} and {fabric.servers} servers"
            raise ScenarioError(f"fabric.workers: training runs on 1 machine (got {got}); for several there is type: distributed")
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
        device = fabric.device_of(fabric.wiring().nodes[0])
        device.check_fits(task.memory_bytes(self.recipe.batch), f"{self.task.model.name} at batch {self.recipe.batch}")

    def estimate(self, fabric: Fabric) -> Estimate | None:
        """The closed form of a run on the first machine of the cluster."""
        from toolkit.cluster.fabric import Cluster

        if not isinstance(fabric, Cluster):
            return None
        return estimate(self.task, self.recipe, self.inference_batches, fabric.device_of(fabric.wiring().nodes[0]))

    def run(self, ctx: Context) -> Process:
        torch.set_num_threads(self.threads)
        task = self.task.load()
        pupil = self._begin(ctx, task)
        per_epoch = self._per_epoch(task)
        black = task.data.normalise(torch.zeros_like(task.data.train_images[:1, :, :1, :1]))[0]
        while pupil.step < self.recipe.epochs * per_epoch:
            yield from self._one_step(ctx, task, pupil, black.to(ctx.accelerator))
            if pupil.step % (self.save_every * per_epoch) == 0:
                ctx.save(pupil.step, pupil.state_dict())
        finished(pupil.model)
        self._evaluate(ctx, task, pupil)
        yield from self._use(ctx, task)

    def _per_epoch(self, task: Task) -> int:
        return max(1, len(task.data.train_labels) // self.recipe.batch)

    def _begin(self, ctx: Context, task: Task) -> Pupil:
        model = task.build(torch_generator(ctx.fresh_rng("model"))).to(ctx.accelerator)
        weights = adopt(model)
        gradient = torch.zeros_like(weights)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for parameter, view in zip(trained, task.layout.split(gradient), strict=True):
            parameter.grad = view
        pupil = Pupil(model, weights, gradient, torch.zeros_like(weights if self.recipe.momentum else weights[:0]))
        saved = ctx.saved()
        if saved is not None:
            pupil.load_state_dict(saved)
        return pupil

    def _one_step(self, ctx: Context, task: Task, pupil: Pupil, black: Tensor) -> Asking:
        recipe, model, step = self.recipe, pupil.model, pupil.step
        per_epoch = self._per_epoch(task)
        if step % (self.evaluate_every * per_epoch) == 0:
            self._evaluate(ctx, task, pupil)
        images, labels = (tensor.to(ctx.accelerator) for tensor in task.batch(ctx, step, recipe.batch))
        images, targets = recipe.prepared(images, labels, black, task.data.num_classes, ctx.fresh_rng, step)
        rate = recipe.drop_at(step, per_epoch)
        set_drop(model, rate, torch_generator(ctx.fresh_rng("drop", step)) if rate else None)
        model.train()
        pupil.gradient.zero_()
        loss = functional.cross_entropy(model(_channels_last(images)), targets)
        penalty = recipe.group_lasso * model.group_lasso() if isinstance(model, CondenseNet) else 0.0
        (loss + penalty).backward()  # type: ignore[no-untyped-call]
        if not torch.isfinite(pupil.gradient).all():
            raise ScenarioError(
                f"program.recipe.lr: training {self.task.model.name} diverged in step {step} at a rate of {recipe.lr:g}; use a lower one"
            )
        updated(pupil.weights, pupil.gradient, pupil.momentum, recipe.lr_at(step, per_epoch), recipe)
        pupil.step += 1
        if isinstance(model, CondenseNet):
            model.advance(pupil.step / (recipe.epochs * per_epoch))
        yield ctx.compute(work_of_step(self.task, recipe), "gradient")
        pupil.losses.append(float(loss.detach()))
        if pupil.step % per_epoch == 0:
            ctx.metric("train_loss", sum(pupil.losses) / per_epoch, step=pupil.step)
            pupil.losses.clear()
            ctx.progress(pupil.step / (recipe.epochs * per_epoch))

    def _evaluate(self, ctx: Context, task: Task, pupil: Pupil) -> None:
        loss, accuracy = task.evaluate(pupil.model)
        ctx.metric("test_loss", loss, step=pupil.step)
        ctx.metric("test_accuracy", accuracy, step=pupil.step)

    def _use(self, ctx: Context, task: Task) -> Asking:
        """Classify the test set in batches of each size; what does not fill a batch is left out."""
        for name, value in sizes_in_use(self.task).items():
            ctx.metric(name, value)
        for batch in self.inference_batches:
            work = work_in_use(self.task, batch)
            ctx.metric("kernels", 1 + work.launches, who=str(batch))
            for _ in range(inferences(len(task.data.test_labels), batch)):
                yield ctx.compute(work, f"inference_{batch}")

    def summarise(self, ledger: pd.DataFrame, metrics: pd.DataFrame) -> list[tuple[str, str, float]]:
        from toolkit.methods.training.report import summarise_training

        return summarise_training(ledger, metrics)

    def view(self) -> str:
        return "toolkit.methods.training.figures:TRAINING_VIEW"

    def answers(self, result: Result) -> list[str]:
        from toolkit.methods.training.report import training_answers

        return training_answers(result)


def _channels_last(images: Tensor) -> Tensor:
    """A copy whose channels are neighbours in memory, in which most networks train faster on CPUs."""
    return torch.empty_like(images, memory_format=torch.channels_last).copy_(images)
