"""Tasks: which labelled data set is learnt, and by which network."""

from __future__ import annotations

from typing import final

import torch
from pydantic import Field

from toolkit.core.once import read_once
from toolkit.core.part import Spec
from toolkit.datasets import Dataset, MissingDataError
from toolkit.methods.classification import Classification
from toolkit.methods.dataset_spec import DatasetSpec
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

    dataset: DatasetSpec = Field(
        DatasetSpec(name="digits"), description="digits, mnist, cifar10 …, or a mapping with a type: images, arrays, a module of your own"
    )
    path: str | None = Field(None, description="where it is; without it TOOLKIT_DATA or the folder data")
    blank: Blank | None = Field(None, description="images without content instead of a data set, where nothing is learnt")
    model: ModelSpec = Field(ModelSpec(), description="the network, by name or as module:Class of your own")
    skew: float | None = Field(None, gt=0, description="Dirichlet concentration of label skew between workers; without it none")

    def load(self) -> Classification:
        """Return the task, read and counted once per process.

        Raises:
            DataError: the data are not where they should be.
        """
        return _load(self)


@read_once(4, lambda spec: spec.dataset.files(spec.path))
def _load(spec: TaskSpec) -> Classification:
    if spec.blank is not None:
        return Classification(spec.blank.load(), spec.model, spec.skew)
    try:
        data = spec.dataset.load(spec.path)
    except MissingDataError as error:
        raise MissingDataError(f"{error} (program.task.path)") from error
    return Classification(data, spec.model, spec.skew)
