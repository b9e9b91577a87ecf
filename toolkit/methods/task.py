"""Tasks: which labelled data set is learnt, and by which network."""

from __future__ import annotations

import importlib
import pkgutil
from functools import lru_cache
from typing import Self, final

import torch
from pydantic import Field, model_validator

from toolkit import datasets
from toolkit.core.part import Spec, nearest
from toolkit.datasets import Dataset
from toolkit.errors import listed, shortened
from toolkit.methods.classification import Classification
from toolkit.methods.model_spec import ModelSpec


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
            raise ValueError(f"dataset '{shortened(self.dataset)}' is unknown{nearest(self.dataset, known)} (known: {listed(known)})")
        return self

    def load(self) -> Classification:
        """Return the task, read and counted once per process.

        Raises:
            DataError: the data are not where they should be.
        """
        return _load(self)


@lru_cache(maxsize=4)
def _load(spec: TaskSpec) -> Classification:
    if spec.blank is not None:
        return Classification(spec.blank.load(), spec.model, spec.skew)
    reader = importlib.import_module(f"{datasets.__name__}.{spec.dataset}")
    data: Dataset = reader.load(spec.path) if spec.path is not None else reader.load()
    return Classification(data, spec.model, spec.skew)
