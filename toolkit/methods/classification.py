"""Classification: a labelled set of images, dealt out to workers, and a network that names their classes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from toolkit.core.context import Context
from toolkit.core.work import Work
from toolkit.datasets import Dataset, partition
from toolkit.errors import ScenarioError
from toolkit.learning.flat import FlatLayout
from toolkit.learning.meter import CallCosts, elementwise_work, gradient_work, loading_work
from toolkit.learning.work import Count, peak_memory_bytes
from toolkit.methods.model_spec import ModelSpec
from toolkit.methods.objective import Objective

EVALUATION_BATCH = 1000
Indices = NDArray[np.int64]


def cross_entropy_of(scores: Tensor) -> Tensor:
    """Return a cross entropy of *scores* (n, classes) with labels, for counting."""
    return functional.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.int64, device=scores.device))


class _Epoch(NamedTuple):
    """One worker's epoch."""

    of: tuple[int, int, int]
    """Workers, rank, samples of a batch."""
    begin: int
    """Its first step."""
    end: int
    samples: Indices
    """In the order in which they are taken."""

    def holds(self, ctx: Context, step: int, size: int) -> bool:
        return self.begin <= step < self.end and self.of == (ctx.size, ctx.rank, size)


@dataclass
class Classification(Objective[Tensor]):
    """Cross entropy over the classes of *data*. `skew` is the Dirichlet concentration by which workers' shares differ; None: not at all."""

    data: Dataset
    model: ModelSpec
    skew: float | None = None
    _shards: dict[tuple[int, int], list[Indices]] = field(default_factory=dict)
    _epochs: WeakKeyDictionary[Context, _Epoch] = field(default_factory=WeakKeyDictionary)
    """The order in which each worker is going through its share: drawn once an epoch, since drawing it takes longer than a small step."""

    def __post_init__(self) -> None:
        self._shapes = self.build(torch.Generator().manual_seed(0))
        if self.model.is_own:
            self._refuse_other_scores(self._shapes)
        self._costs = CallCosts(self._shapes)
        self.layout = FlatLayout.of(self._shapes)

    @torch.no_grad()
    def _refuse_other_scores(self, model: nn.Module) -> None:
        """Raise `ScenarioError` where *model* does not give a score for every class."""
        images, training = torch.zeros(self.batch_shape(2)), model.training
        try:
            scores = model.eval()(images)
        except (RuntimeError, ValueError, TypeError) as error:
            shape, why = "x".join(map(str, images.shape[1:])), str(error).partition("\n")[0]
            raise ScenarioError(f"program.task.model: {self.model.name} does not take images of {shape} ({why})") from error
        model.train(training)
        if not isinstance(scores, Tensor) or scores.dim() != 2 or len(scores) != 2:
            raise ScenarioError(f"program.task.model: {self.model.name} must give one row of scores for each image")
        if scores.shape[1] != self.data.num_classes:
            given, wanted = scores.shape[1], self.data.num_classes
            raise ScenarioError(
                f"program.task.model: {self.model.name} gives {given} scores for each image, and the data set has {wanted} classes"
            )

    @cached_property
    def _test(self) -> tuple[Tensor, Tensor]:
        return self.data.batch("test", torch.arange(len(self.data.test_labels)))

    def build(self, generator: torch.Generator) -> nn.Module:
        _, channels, height, _ = self.data.train_images.shape
        return self.model.build(generator, num_classes=self.data.num_classes, in_channels=channels, image_size=height)

    def build_in_parts(self, generator: torch.Generator, shape: tuple[int, int, int]) -> nn.Module:
        """Return a network with `features` and `classifier` for inputs of *shape* (channels, height, width)."""
        num_classes = self.data.num_classes
        return self.model.build_in_parts(generator, shape, num_classes=num_classes, in_channels=shape[0], image_size=shape[1])

    def batch_shape(self, size: int) -> tuple[int, ...]:
        """Return the shape of the inputs of a batch."""
        return (size, *self.data.train_images.shape[1:])

    def loading_work(self, batch: int) -> Work:
        """Return the work of making a batch, every kernel a launch."""
        shape = self.batch_shape(batch)
        return loading_work(math.prod(shape), batch)

    def gradient_work(self, batch: int, *, decayed: bool = False) -> Work:
        """Return the work of one gradient over *batch* samples, the loading of these and the loss among it, every kernel a launch.

        Where weights are *decayed* a multiple of them is added.
        """
        work = self.loading_work(batch) + gradient_work(self._costs, self.batch_shape(batch), loss=cross_entropy_of)
        return work + elementwise_work(self.layout.size, flops=2, reads=2, writes=1, launches=1) if decayed else work

    def gradient_count(self, batch: int) -> Count:
        """Return the count of one gradient, of which each weight's part is noted when it is there."""
        return self._costs.count("forward", self.batch_shape(batch), training=True, loss=cross_entropy_of, gradients_held=True)

    def memory_bytes(self, batch: int) -> float:
        """Return what training needs at its peak, with error feedback and momentum of the size of the weights."""
        return peak_memory_bytes(self._shapes, self.batch_shape(batch), training=True, optimiser_state=2.0)

    def batch(self, ctx: Context, step: int, size: int) -> tuple[Tensor, Tensor]:
        """Return normalised images and labels of a step: a new order of this worker's share in every epoch."""
        epoch = self._epochs.get(ctx)
        if epoch is None or not epoch.holds(ctx, step, size):
            epoch = self._epochs[ctx] = self._epoch_of(ctx, step, size)
        begin = (step - epoch.begin) * size
        chosen = epoch.samples[begin : begin + size]
        return self.data.batch("train", torch.from_numpy(chosen))

    def _epoch_of(self, ctx: Context, step: int, size: int) -> _Epoch:
        share = self._share_out(ctx)[ctx.rank]
        per_epoch = max(1, len(share) // size)
        number = step // per_epoch
        order = ctx.shared_rng("order", ctx.size, ctx.rank, number).permutation(len(share))
        return _Epoch((ctx.size, ctx.rank, size), number * per_epoch, (number + 1) * per_epoch, share[order])

    def _share_out(self, ctx: Context) -> list[Indices]:
        rng = ctx.shared_rng("shards", ctx.size)
        key = (int(rng.bit_generator.state["state"]["state"]), ctx.size)
        if key not in self._shards:
            self._shards = {key: partition(self.data.train_labels.numpy(), ctx.size, rng, self.skew)}
        return self._shards[key]

    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross entropy; *targets* are labels (n,) or, where they are smoothed or mixed, probabilities (n, classes)."""
        return functional.cross_entropy(model(inputs), targets)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Return mean loss and accuracy on the test set."""
        images, labels = self._test
        model.eval()
        loss, right = 0.0, 0
        with torch.inference_mode():
            for begin in range(0, len(labels), EVALUATION_BATCH):
                part = slice(begin, begin + EVALUATION_BATCH)
                scores = model(images[part])
                loss += float(functional.cross_entropy(scores, labels[part], reduction="sum"))
                right += int((scores.argmax(1) == labels[part]).sum())
        return {"test_loss": loss / len(labels), "test_accuracy": right / len(labels)}
