"""Streams: a labelled set cut into tasks that a learner meets one after the other.

- ``class``: every task brings classes of its own (class-incremental; with other tasks' scores masked the same stream is task-incremental);
- ``domain``: every task has all classes, seen through a transform of its own (permuted pixels, rotations);
- blurred: a class stream of whose training samples a share comes in other tasks than their class's.

Labels are mapped once, by the order in which classes appear: task t of a class stream has the labels t c to (t + 1) c - 1 for ever,
whatever is trained or left out. What a learner may look at is `Stream.train` of the present task.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
import torch
from torch import Tensor

from toolkit.datasets import Dataset
from toolkit.errors import DataError, listed

Transform = Callable[[Tensor], Tensor]
"""Turns uint8 images (n, channels, height, width) into such images; the same for every call."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Images as bytes, uint8 (n, channels, height, width), and their mapped labels, int64 (n,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Stream:
    """Tasks of one data set. All tensors are views or gathers of the set's own, which stay as bytes until a batch is taken."""

    dataset: Dataset
    classes: tuple[tuple[int, ...], ...]
    """Original labels that each task brings; the same ones in every task of a domain stream."""
    transforms: tuple[Transform | None, ...]
    comes: Tensor | None = None
    """Task in which each training sample comes, int64 (n,), where that is not always its class's: the borders are blurred."""

    @property
    def tasks(self) -> int:
        return len(self.classes)

    @property
    def num_classes(self) -> int:
        return len({label for labels in self.classes for label in labels})

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.dataset.train_images.shape[1:]
        return channels, height, width

    def task_classes(self, task: int) -> range:
        """Return the mapped labels of a task."""
        order = self._order()
        labels = [order.index(label) for label in self.classes[task]]
        return range(min(labels), max(labels) + 1)

    def seen(self, task: int) -> int:
        """Return how many classes have appeared once *task* has begun: labels below it are known.

        Where borders are blurred a class may appear at any time, and all are known from the start.
        """
        if self.comes is not None:
            return self.num_classes
        return max(self.task_classes(past).stop for past in range(task + 1))

    def train(self, task: int) -> Samples:
        """Return the training samples of a task in the order of the data set."""
        return self._training(task, self.dataset.train_images)

    def test(self, task: int) -> Samples:
        """Return the test samples of a task."""
        return self._part(task, self.dataset.test_images, self.dataset.test_labels)

    def train_size(self, task: int) -> int:
        """Return how many training samples a task has, without taking them."""
        if self.comes is not None:
            return int((self.comes == task).sum())
        return int(torch.isin(self.dataset.train_labels, torch.tensor(self.classes[task], device=self.dataset.train_labels.device)).sum())

    def on(self, device: torch.device) -> Self:
        """Return this stream with its samples on *device*, as bytes."""
        data, names = self.dataset, ("train_images", "train_labels", "test_images", "test_labels")
        comes = None if self.comes is None else self.comes.to(device)
        moved = dataclasses.replace(data, **{name: getattr(data, name).to(device) for name in names})
        return dataclasses.replace(self, dataset=moved, comes=comes)

    def normalise(self, images: Tensor) -> Tensor:
        """Return uint8 *images* as float32 with the whole training set's mean 0 and deviation 1 per channel."""
        return self.dataset.normalise(images)

    def _order(self) -> list[int]:
        return list(dict.fromkeys(label for labels in self.classes for label in labels))

    def _training(self, task: int, of_each: Tensor) -> Samples:
        """Return what a task has *of_each* training sample, in the place of its image, and the labels."""
        labels = self.dataset.train_labels
        if self.comes is None:
            return self._part(task, of_each, labels)
        self._refuse_others(task)
        place = torch.tensor(self._order(), device=labels.device).argsort()
        chosen = self.comes == task
        return Samples(of_each[chosen], place[labels[chosen]])

    def _refuse_others(self, task: int) -> None:
        if not 0 <= task < self.tasks:
            raise DataError(f"stream: task {task} is not one of 0 to {self.tasks - 1}")

    def _part(self, task: int, images: Tensor, labels: Tensor) -> Samples:
        self._refuse_others(task)
        place = labels.new_full((self.dataset.num_classes,), -1)
        order = self._order()
        for label in self.classes[task]:
            place[label] = order.index(label)
        mapped = place[labels]
        chosen = mapped >= 0
        found = images[chosen]
        transform = self.transforms[task]
        return Samples(transform(found) if transform is not None else found, mapped[chosen])


def split_classes(dataset: Dataset, tasks: int, order: Sequence[int] | None = None, *, first: int | None = None) -> Stream:
    """Return the class-incremental stream of *tasks* tasks with equally many classes, in *order* (or that of the labels).

    With *first* the first task has so many, and the others share the rest evenly.

    Raises:
        DataError: the classes cannot be dealt evenly, *order* is not a permutation of them, or one has no image to train or to test on.
    """
    labels = list(range(dataset.num_classes)) if order is None else [int(label) for label in order]
    if sorted(labels) != list(range(dataset.num_classes)):
        raise DataError(f"stream: the order of classes must name each of 0 to {dataset.num_classes - 1} once")
    rest = 0 if first is None else len(labels) - first
    if first is not None and (tasks < 2 or rest < tasks - 1 or rest % (tasks - 1)):
        raise DataError(
            f"stream: of {len(labels)} classes of {dataset.name} {first} go to the first task, and {max(rest, 0)} cannot be dealt evenly "
            f"to {max(tasks - 1, 0)} more"
        )
    if first is None and (tasks < 1 or len(labels) % tasks):
        raise DataError(f"stream: {len(labels)} classes of {dataset.name} cannot be dealt evenly to {tasks} tasks")
    _refuse_empty_classes(dataset)
    each = len(labels) // tasks if first is None else rest // (tasks - 1)
    ends = [(each if first is None else first) + task * each for task in range(tasks)]
    return Stream(dataset, tuple(tuple(labels[begin:end]) for begin, end in pairwise([0, *ends])), (None,) * tasks)


def named_classes(dataset: Dataset, tasks: Sequence[Sequence[str | int]]) -> Stream:
    """Return the class-incremental stream whose *tasks* bring the classes named, by their names or by their labels.

    Raises:
        DataError: a name is none of a class, or one is not named exactly once; or a task has none; or a class has no images.
    """
    names = list(dataset.classes) or [str(label) for label in range(dataset.num_classes)]
    given = [str(name) for task in tasks for name in task]
    unknown = [name for name in given if name not in names]
    if unknown:
        raise DataError(f"stream: '{unknown[0]}' is no class of {dataset.name} (known: {listed(names)})")
    wrong = [name for name in names if given.count(name) != 1]
    if wrong:
        raise DataError(f"stream: class '{wrong[0]}' of {dataset.name} is named {given.count(wrong[0])} times; name every class once")
    if not all(tasks):
        raise DataError("stream: a task has no class; every task brings at least one")
    _refuse_empty_classes(dataset)
    return Stream(dataset, tuple(tuple(names.index(str(name)) for name in task) for task in tasks), (None,) * len(tasks))


def _refuse_empty_classes(dataset: Dataset) -> None:
    for part, held in (("training", dataset.train_labels), ("test", dataset.test_labels)):
        empty = [str(label) for label in range(dataset.num_classes) if not (held == label).any()]
        if empty:
            raise DataError(f"stream: class {listed(empty)} of {dataset.name} has no {part} image; every class of a stream needs some")


def blurred(stream: Stream, share: float, rng: np.random.Generator) -> Stream:
    """Return the class stream of which each task gives a *share* of its training samples to the others, as many to each (to within one).

    Which ones is drawn; how many each task then has is not. Test samples stay with their classes. A share of 0 gives *stream* itself.

    Raises:
        DataError: there is one task alone, or so few samples that a task keeps or gets none.
    """
    if not share:
        return stream
    if stream.tasks < 2:
        raise DataError("stream: one task has no borders to blur")
    labels = stream.dataset.train_labels
    comes = torch.full_like(labels, -1)
    for task, own in enumerate(stream.classes):
        mine = torch.isin(labels, torch.tensor(own, device=labels.device)).nonzero()[:, 0]
        comes[mine] = task
        given = mine[torch.from_numpy(rng.permutation(len(mine))[: round(share * len(mine))]).to(mine.device)]
        for place, part in enumerate(torch.tensor_split(given, stream.tasks - 1), start=1):
            comes[part] = (task + place) % stream.tasks
    empty = [task for task in range(stream.tasks) if not (comes == task).any()]
    if empty:
        raise DataError(f"stream: with {share:g} of its samples given away task {empty[0]} has none")
    return dataclasses.replace(stream, comes=comes)


def permuted(dataset: Dataset, tasks: int, rng: np.random.Generator) -> Stream:
    """Return a domain-incremental stream: all classes in every task, pixels shuffled by one permutation per task (the first has none)."""
    channels, height, width = dataset.train_images.shape[1:]
    size = channels * height * width
    orders = [torch.from_numpy(rng.permutation(size)) for _ in range(tasks - 1)]

    def shuffled(order: Tensor) -> Transform:
        return lambda images: images.flatten(1)[:, order].view_as(images)

    everything = tuple(range(dataset.num_classes))
    return Stream(dataset, (everything,) * tasks, (None, *(shuffled(order) for order in orders)))


def rotated(dataset: Dataset, tasks: int, rng: np.random.Generator) -> Stream:
    """Return a domain-incremental stream: all classes in every task, images turned by an angle per task drawn from 0 to 180 degrees.

    Rotation is about the centre, bilinear, with black outside.
    """
    angles = rng.uniform(0.0, np.pi, size=tasks)

    def turned(angle: float) -> Transform:
        cos, sin = float(np.cos(angle)), float(np.sin(angle))

        def turn(images: Tensor) -> Tensor:
            matrix = torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0]], device=images.device).expand(len(images), 2, 3)
            grid = torch.nn.functional.affine_grid(matrix, list(images.shape), align_corners=False)
            found = torch.nn.functional.grid_sample(images.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
            return found.round_().clamp_(0, 255).to(torch.uint8)

        return turn

    everything = tuple(range(dataset.num_classes))
    return Stream(dataset, (everything,) * tasks, tuple(turned(float(angle)) for angle in angles))
