"""Labelled image sets, one reader per module, and how their samples are dealt to workers.

A reader is a module with `load(...) -> Dataset`. That of a named set takes `path=None`; without one it looks in the folder that the
environment variable TOOLKIT_DATA names, and without that in `data`. What was read once is kept, so a process that runs many seeds reads a
set once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toolkit.errors import DataError

Split = Literal["train", "test"]
Pixels = NDArray[np.uint8]
Indices = NDArray[np.int64]


class MissingDataError(DataError, FileNotFoundError):
    """A data set is not where it was looked for."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """A labelled set of images of one size, as pixels of 8 bits: what a device stores, normalised only when a batch is taken."""

    name: str
    train_images: Tensor
    """uint8 (n, channels, height, width)"""
    train_labels: Tensor
    """int64 (n,)"""
    test_images: Tensor
    test_labels: Tensor
    num_classes: int
    mean: tuple[float, ...]
    """Mean of each channel over all training pixels, as a fraction of 255."""
    std: tuple[float, ...]
    """Standard deviation of each channel over all training pixels, as a fraction of 255."""
    classes: tuple[str, ...] = ()
    """Names of the classes, in the order of their numbers; none where they are the numbers."""

    def batch(self, split: Split, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return images (len(index), channels, height, width) as normalised float32 and their labels (len(index),)."""
        images, labels = (self.train_images, self.train_labels) if split == "train" else (self.test_images, self.test_labels)
        return self.normalise(images[index]), labels[index]

    def normalise(self, images: Tensor) -> Tensor:
        """Return uint8 *images* (n, channels, height, width) as float32 with the training set's mean 0 and deviation 1 per channel."""
        scale, shift = self._affine
        return images.to(torch.float32).mul_(scale.to(images.device)).add_(shift.to(images.device))

    @cached_property
    def _affine(self) -> tuple[Tensor, Tensor]:
        mean, std = (torch.tensor(values, dtype=torch.float64).view(1, -1, 1, 1) for values in (self.mean, self.std))
        return (1 / (255 * std)).float(), (-mean / std).float()


def assemble(
    name: str, train: tuple[Pixels, Indices], test: tuple[Pixels, Indices], num_classes: int, classes: tuple[str, ...] = ()
) -> Dataset:
    """Return the data set of *train* and *test*, each images (n, channels, height, width) and labels (n,).

    Raises:
        DataError: images and labels do not fit each other, or a label is not a class.
    """
    for split, (images, labels) in (("train", train), ("test", test)):
        if len(images) != len(labels) or not len(labels):
            raise DataError(f"{name}: the {split} set has {len(images)} images and {len(labels)} labels; there must be one label per image")
        if labels.min() < 0 or labels.max() >= num_classes:
            raise DataError(f"{name}: the {split} labels run from {labels.min()} to {labels.max()}; they must be 0 to {num_classes - 1}")
    mean, std = _moments(train[0])
    return Dataset(name, *_tensors(*train), *_tensors(*test), num_classes, mean, std, classes)


def _tensors(images: Pixels, labels: Indices) -> tuple[Tensor, Tensor]:
    """Copies, as what was read may be read-only or a view with strange strides."""
    return torch.from_numpy(np.array(images, np.uint8, order="C")), torch.from_numpy(np.array(labels, np.int64))


def _moments(images: Pixels) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Exact mean and standard deviation per channel, from how often each of the 256 values occurs."""
    values = np.arange(256) / 255
    means, deviations = [], []
    for channel in range(images.shape[1]):
        share = np.bincount(images[:, channel].ravel(), minlength=256) / images[:, channel].size
        mean = float(share @ values)
        means.append(mean)
        deviations.append(max(float(np.sqrt(share @ (values - mean) ** 2)), 1 / 255))
    return tuple(means), tuple(deviations)


def every_fifth(labels: Indices) -> tuple[Indices, Indices]:
    """Return the indices of a training and a test part: of every class the 5th, 10th, ... sample in its order is for testing."""
    test = np.concatenate([np.flatnonzero(labels == label)[4::5] for label in np.unique(labels)])
    test.sort()
    return np.setdiff1d(np.arange(len(labels)), test), test


def find(name: str, path: str | Path | None, folders: Sequence[str], holds: Callable[[Path], bool]) -> Path:
    """Return the first folder that *holds* the data set *name*: the given one, or one of *folders* in it.

    Raises:
        MissingDataError: none does; the message names the folders looked at.
    """
    base = Path(path) if path is not None else Path(os.environ.get("TOOLKIT_DATA") or "data")
    places = [base, *(base / folder for folder in folders)]
    for place in places:
        if place.is_dir() and holds(place):
            return place.resolve()
    hint = "give its path or set TOOLKIT_DATA" if path is None else "the path must be the folder with its files"
    raise MissingDataError(f"{name}: not found in {', '.join(str(place) for place in places)}; {hint}")


def partition(labels: NDArray[np.integer], parts: int, rng: np.random.Generator, alpha: float | None = None) -> list[Indices]:
    """Deal the samples with *labels* (n,) to *parts* workers, each sample to exactly one; returns their indices, sorted.

    Without *alpha* the samples are shuffled and cut into parts whose sizes differ by one at most. With it, every class is cut in
    proportions drawn from a symmetric Dirichlet distribution of that concentration: small values give each worker few classes, large
    ones approach the first. Sizes then differ; a worker left with nothing is given one sample of the worker who has most.

    Source: Hsu, Qi, Brown 2019 (arXiv 1909.06335) for Dirichlet label skew; per class, not per client, as Yurochkin et al. 2019.

    Raises:
        DataError: there are fewer samples than parts, or *alpha* is not positive.
    """
    count = len(labels)
    if not 1 <= parts <= count:
        raise DataError(f"partition: {count} samples cannot be dealt to {parts} workers; there must be 1 to {count} workers")
    if alpha is None:
        return [np.sort(part).astype(np.int64) for part in np.array_split(rng.permutation(count), parts)]
    if not alpha > 0:
        raise DataError(f"partition: the Dirichlet concentration is {alpha}; it must be above 0")
    shares: list[list[Indices]] = [[] for _ in range(parts)]
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        ends = np.rint(np.cumsum(rng.dirichlet(np.full(parts, alpha))) * len(members)).astype(np.int64)
        for share, part in zip(shares, np.split(members, ends[:-1]), strict=True):
            share.append(part)
    dealt = [np.concatenate(share) for share in shares]
    for worker in range(parts):
        if not len(dealt[worker]):
            richest = max(range(parts), key=lambda other: len(dealt[other]))
            dealt[worker], dealt[richest] = dealt[richest][-1:], dealt[richest][:-1]
    return [np.sort(part).astype(np.int64) for part in dealt]
