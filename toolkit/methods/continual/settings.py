"""Settings of a continual-learning run: the stream, the memory, what training may cost."""

from __future__ import annotations

import math
from typing import Literal, Self, final

import numpy as np
from pydantic import Field, model_validator

from toolkit.core.part import Spec
from toolkit.datasets import Dataset
from toolkit.datasets.own import held_out
from toolkit.datasets.streams import Stream, blurred, named_classes, permuted, rotated, split_classes
from toolkit.errors import DataError, ScenarioError
from toolkit.methods.continual.storage import Dtype


@final
class StreamSpec(Spec):
    """How a data set becomes tasks."""

    kind: Literal["class", "permuted", "rotated"] = Field("class", description="new classes per task, or all classes seen another way")
    tasks: int = Field(5, ge=1, description="number of tasks")
    first: int | None = Field(None, ge=1, description="classes of the first task, the others sharing the rest evenly; none: all alike")
    order: Literal["natural", "seeded"] = Field("natural", description="order in which classes appear")
    validation: float | None = Field(
        None, gt=0, lt=1, description="share of each class's training samples that is held out and examined on, instead of the test samples"
    )
    classes: list[list[str | int]] | None = Field(
        None, description="which classes each task brings, by name or label, in any order and number; instead of first and order"
    )

    blur: float = Field(
        0.0, ge=0, lt=1, description="share of each task's training samples that come in other tasks; 0: tasks have sharp borders"
    )

    @model_validator(mode="after")
    def _one_way_of_cutting(self) -> Self:
        if self.blur and self.kind != "class":
            raise ValueError(f"blur: every task of kind {self.kind} has every class already; leave it out")
        if self.classes is not None:
            if self.kind != "class" or self.first is not None or self.order != "natural":
                raise ValueError("classes: says all there is to say of a stream of kind class; leave out first and order")
            if len(self.classes) != self.tasks:
                raise ValueError(f"classes: names those of {len(self.classes)} tasks, and tasks is {self.tasks}")
        return self

    def open(self, dataset: Dataset, rng: np.random.Generator) -> Stream:
        """Return the stream; *rng* draws the order of classes, the permutations or the angles.

        Raises:
            ScenarioError: the data set cannot be cut so.
        """
        try:
            if self.validation is not None:
                dataset = held_out(dataset, self.validation)
            if self.classes is not None:
                return blurred(named_classes(dataset, self.classes), self.blur, rng)
            if self.kind == "class":
                order = rng.permutation(dataset.num_classes).tolist() if self.order == "seeded" else None
                return blurred(split_classes(dataset, self.tasks, order, first=self.first), self.blur, rng)
            if self.first is not None:
                raise ScenarioError(f"program.stream.first: tasks of kind {self.kind} all have every class; leave it out")
            return (permuted if self.kind == "permuted" else rotated)(dataset, self.tasks, rng)
        except DataError as error:
            place = "tasks" if self.classes is None else "classes"
            raise ScenarioError(f"program.stream.{place}: {error}") from error


@final
class Augment(Spec):
    """Random variations of images, the same draws for all arms of a seed."""

    crop: int = Field(0, ge=0, description="pixels of black around an image before it is cropped at random to its size; 0 for none")
    flip: bool = Field(False, description="mirror half of the images")
    even: bool = Field(True, description="crop at even offsets only, as CLFD needs; its hosts then do the same")

    @model_validator(mode="after")
    def _even_padding(self) -> Self:
        if self.even and self.crop % 2:
            raise ValueError(f"crop: {self.crop} pixels are odd; crops at even offsets need an even number (or even: false)")
        return self


@final
class Sgd(Spec):
    """How weights move: SGD, plain by default. Velocities are kept from task to task; a schedule begins anew with each."""

    momentum: float = Field(0.0, ge=0, lt=1, description="share of the velocity that is kept")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty on all weights that move")
    schedule: Literal["constant", "cosine", "steps"] = Field(
        "constant", description="rate within a task: as it is, falling to 0 along half a cosine, or times factor after each milestone"
    )
    milestones: list[float] = Field(default_factory=lambda: [0.5, 0.75], description="shares of a task after which the rate falls")
    factor: float = Field(0.1, gt=0, le=1, description="what the rate is multiplied by at a milestone")

    def rate(self, peak: float, share: float) -> float:
        """Return the learning rate where *share* of a task is done, of which the highest is *peak*."""
        if self.schedule == "cosine":
            return peak * (1 + math.cos(math.pi * share)) / 2
        if self.schedule == "steps":
            return peak * self.factor ** sum(share >= milestone for milestone in self.milestones)
        return peak


@final
class BufferSpec(Spec):
    """The replay memory, in units of images of the host without a front end."""

    images: int = Field(50, ge=1, le=10_000_000, description="nominal size: so many samples of the unmodified host")
    equal: Literal["samples", "bytes", "paper"] = Field(
        "bytes", description="what arms have in common: samples, bytes, or CLFD's own rule of four maps for each image"
    )
    choice: Literal["reservoir", "balanced"] = Field(
        "reservoir", description="what stays of all that is offered: every sample with one probability, or as many of each class"
    )
    dtype: Dtype = Field("float32", description="type of a stored value")
    host_dtype: Dtype = Field("float32", description="type that the nominal images are counted in")
    place: Literal["storage", "memory"] = Field("storage", description="on flash, where traffic costs, or in memory")


@final
class TaskBudget(Spec):
    """What training may cost. One of the limits, if any, replaces `epochs`: arms then get as many whole steps as it pays for."""

    epochs: int = Field(10, ge=1, le=10_000, description="passes over the samples of each task")
    flops: float | None = Field(None, gt=0, description="floating-point operations of all training steps together")
    time_s: float | None = Field(None, gt=0, description="time in s of all training steps together on the machine of the run")
