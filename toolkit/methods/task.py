"""Tasks: a labelled data set and a model to learn it, loaded once per process."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Self, final

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from toolkit import datasets, models
from toolkit.core.context import Context
from toolkit.core.part import Spec, nearest
from toolkit.core.work import Work
from toolkit.datasets import Dataset, partition
from toolkit.learning.flat import Layout
from toolkit.learning.work import peak_memory_bytes, step_work

EVALUATION_BATCH = 1000


@final
class ModelSpec(Spec):
    """A network of `toolkit.models` by the name of its function."""

    name: str = Field("small_cnn", description="function in a module of toolkit/models, e.g. small_cnn, lenet5, resnet20, vgg16")
    options: dict[str, Any] = Field(default_factory=dict, description="its arguments, e.g. {width: 32}")

    @model_validator(mode="after")
    def _known(self) -> Self:
        known = builders()
        if self.name not in known:
            raise ValueError(f"'{self.name}' is not a model{nearest(self.name, list(known))} (known: {', '.join(known)})")
        accepted = inspect.signature(known[self.name]).parameters
        for option in self.options:
            if option not in accepted:
                raise ValueError(f"model {self.name} has no option '{option}'{nearest(option, list(accepted))}")
        return self

    def build(self, generator: torch.Generator, **defaults: Any) -> nn.Module:
        """Return a new network whose first weights are drawn from *generator*."""
        builder = builders()[self.name]
        accepted = inspect.signature(builder).parameters
        known = {key: value for key, value in defaults.items() if key in accepted}
        model: nn.Module = builder(**{**known, **self.options, "generator": generator})
        return model


@lru_cache(maxsize=1)
def builders() -> dict[str, Any]:
    """Every function of `toolkit.models` that builds a network from a generator, by name."""
    found = {}
    for module in pkgutil.iter_modules(models.__path__):
        loaded = importlib.import_module(f"{models.__name__}.{module.name}")
        for name, item in vars(loaded).items():
            if not inspect.isfunction(item) or item.__module__ != loaded.__name__ or name.startswith("_"):
                continue
            if {"generator", "num_classes"} <= set(inspect.signature(item).parameters):
                found[name] = item
    return dict(sorted(found.items()))


@final
class Blank(Spec):
    """Images without content: what a data set weighs, for runs that price their steps and learn nothing."""

    train: int = Field(50_000, ge=1, description="training images")
    test: int = Field(10_000, ge=1, description="test images")
    classes: int = Field(10, ge=1, description="classes, equally many images each")
    channels: int = Field(3, ge=1, description="colours")
    size: int = Field(32, ge=1, description="pixels along each side")

    def load(self) -> Dataset:
        """Return black images that take no memory, labelled in turn."""
        black = torch.zeros((1, self.channels, self.size, self.size), dtype=torch.uint8)
        train, test = ((black.expand(count, -1, -1, -1), torch.arange(count) % self.classes) for count in (self.train, self.test))
        return Dataset("blank", *train, *test, self.classes, (0.0,) * self.channels, (1.0,) * self.channels)


@final
class TaskSpec(Spec):
    """What is learnt, by which network, and how its samples are dealt to the workers."""

    dataset: str = Field("digits", description="data set of toolkit/datasets: digits, mnist, cifar10, cifar100, tiny_imagenet")
    path: str | None = Field(None, description="where it is; without it TOOLKIT_DATA or the folder data")
    blank: Blank | None = Field(None, description="images without content instead of a data set, where nothing is learnt")
    model: ModelSpec = ModelSpec()
    skew: float | None = Field(None, gt=0, description="Dirichlet concentration of label skew between workers; without it none")

    @model_validator(mode="after")
    def _known(self) -> Self:
        modules = [module.name for module in pkgutil.iter_modules(datasets.__path__)]
        known = [name for name in modules if hasattr(importlib.import_module(f"{datasets.__name__}.{name}"), "load")]
        if self.dataset not in known:
            raise ValueError(f"dataset '{self.dataset}' is unknown{nearest(self.dataset, known)} (known: {', '.join(known)})")
        return self

    def load(self) -> Task:
        """Return the task, read and counted once per process.

        Raises:
            DataError: the data are not where they should be.
        """
        return _load(self.model_dump_json())


@lru_cache(maxsize=4)
def _load(text: str) -> Task:
    spec = TaskSpec.model_validate_json(text)
    if spec.blank is not None:
        return Task(spec, spec.blank.load())
    reader = importlib.import_module(f"{datasets.__name__}.{spec.dataset}")
    data: Dataset = reader.load(spec.path) if spec.path is not None else reader.load()
    return Task(spec, data)


@dataclass
class Task:
    """A loaded task."""

    spec: TaskSpec
    data: Dataset
    _shards: dict[tuple[int, int], list[np.ndarray[Any, Any]]] = field(default_factory=dict)
    _orders: dict[tuple[int, int], np.ndarray[Any, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._model = self.build(torch.Generator().manual_seed(0))
        self.layout = Layout.of(self._model)
        self._work: dict[int, Work] = {}

    @cached_property
    def _test(self) -> tuple[Tensor, Tensor]:
        return self.data.batch("test", torch.arange(len(self.data.test_labels)))

    def build(self, generator: torch.Generator) -> nn.Module:
        """Return a new network for this data set."""
        _, channels, height, _ = self.data.train_images.shape
        return self.spec.model.build(generator, num_classes=self.data.num_classes, in_channels=channels, image_size=height)

    def gradient_work(self, batch: int) -> Work:
        """The work of one gradient."""
        if batch not in self._work:
            self._work[batch] = step_work(self._model, (batch, *self.data.train_images.shape[1:]), training=True)
        return self._work[batch]

    def memory_bytes(self, batch: int) -> float:
        """What training needs at its peak, with error feedback and momentum of the size of the weights."""
        return peak_memory_bytes(self._model, (batch, *self.data.train_images.shape[1:]), training=True, optimiser_state=2.0)

    def batch(self, ctx: Context, step: int, size: int) -> tuple[Tensor, Tensor]:
        """Return this worker's images and labels of a step: a new order of its share in every epoch, a function of the names alone."""
        shards = self._share_out(ctx)
        share = shards[ctx.rank]
        per_epoch = max(1, len(share) // size)
        epoch, place = divmod(step, per_epoch)
        order = ctx.fresh_rng("order", ctx.size, ctx.rank, epoch).permutation(len(share))
        chosen = share[order[place * size : (place + 1) * size]]
        return self.data.batch("train", torch.from_numpy(chosen))

    def _share_out(self, ctx: Context) -> list[np.ndarray[Any, Any]]:
        rng = ctx.fresh_rng("shards", ctx.size)
        key = (int(rng.bit_generator.state["state"]["state"]), ctx.size)
        if key not in self._shards:
            self._shards = {key: partition(self.data.train_labels.numpy(), ctx.size, rng, self.spec.skew)}
        return self._shards[key]

    def evaluate(self, model: nn.Module) -> tuple[float, float]:
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
        return loss / len(labels), right / len(labels)
