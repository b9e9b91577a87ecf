"""What a data set of one's own must be, each rule told in one sentence, and how it is split and numbered."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray

from toolkit.datasets import Dataset, Indices, Pixels, assemble
from toolkit.errors import DataError, listed

Labels = NDArray[np.generic]
CHANNELS = (1, 3, 4)


def as_pixels(name: str, images: NDArray[np.generic]) -> Pixels:
    """Return *images* as bytes (n, channels, height, width); images without a channel dimension are grey.

    Raises:
        DataError: they are no bytes from 0 to 255, have another number of dimensions, or their channels come last.
    """
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or not images.size:
        raise DataError(f"{name}: images have the shape {images.shape}; give (n, channels, height, width), or (n, height, width) if grey")
    if images.shape[1] not in CHANNELS and images.shape[3] in CHANNELS:
        raise DataError(f"{name}: images have the shape {images.shape}, with channels last; give x.transpose(0, 3, 1, 2)")
    if images.dtype.kind == "f":
        low, high = float(images.min()), float(images.max())
        remedy = "give bytes, for values from 0 to 1 by (255 * x).round().astype('uint8')"
        raise DataError(f"{name}: images are {images.dtype} from {low:g} to {high:g}; {remedy}")
    if images.dtype.kind not in "ui":
        raise DataError(f"{name}: images are {images.dtype}; they must be bytes from 0 to 255")
    whole = images.astype(np.int64) if images.dtype != np.uint8 else images
    if images.dtype != np.uint8 and (whole.min() < 0 or whole.max() > 255):
        raise DataError(f"{name}: pixels run from {whole.min()} to {whole.max()}; they must be from 0 to 255")
    return images.astype(np.uint8)


def stratified(labels: Labels, share: float, seed: int) -> tuple[Indices, Indices]:
    """Return indices of a training and a test part: of every class *share*, at least one, drawn by *seed*, is for testing.

    Raises:
        DataError: a class has one sample, which cannot be in both.
    """
    rng = np.random.default_rng(seed)
    test = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise DataError(f"class {label} has one image, and training and testing need one each; add images or leave the class out")
        count = min(len(members) - 1, max(1, round(share * len(members))))
        test.append(rng.permutation(members)[:count])
    chosen = np.sort(np.concatenate(test)).astype(np.int64)
    return np.setdiff1d(np.arange(len(labels)), chosen), chosen


def held_out(data: Dataset, share: float) -> Dataset:
    """Return *data* with *share* of every class's training samples in the place of the test samples; the same ones every time.

    Raises:
        DataError: a class has one sample.
    """
    left, held = (torch.from_numpy(part) for part in stratified(data.train_labels.numpy(), share, 0))
    images, labels = data.train_images, data.train_labels
    return dataclasses.replace(
        data, train_images=images[left], train_labels=labels[left], test_images=images[held], test_labels=labels[held]
    )


def own_dataset(name: str, train: tuple[Pixels, Labels], test: tuple[Pixels, Labels]) -> Dataset:
    """Return the data set of *train* and *test*, images and labels of any kind; classes are numbered in the order of their sorted labels.

    Raises:
        DataError: images of both parts differ in shape, images and labels differ in number, or a label for testing was never trained on.
    """
    if train[0].shape[1:] != test[0].shape[1:]:
        shapes = f"{train[0].shape[1:]} and for testing {test[0].shape[1:]}"
        raise DataError(f"{name}: images for training have the shape {shapes}; they must agree")
    for part, (images, labels) in (("training", train), ("testing", test)):
        if labels.ndim != 1 or len(labels) != len(images):
            raise DataError(f"{name}: {len(images)} images for {part} and labels of the shape {labels.shape}; give one label per image")
        if labels.dtype.kind == "f":
            raise DataError(f"{name}: labels for {part} are {labels.dtype}; they must be whole numbers or texts")
    classes = np.unique(train[1])
    unknown = np.setdiff1d(test[1], classes)
    if len(unknown):
        raise DataError(f"{name}: no training image has the label {listed(map(str, unknown.tolist()))}, which images for testing have")
    numbered = [np.searchsorted(classes, labels).astype(np.int64) for labels in (train[1], test[1])]
    names = tuple(map(str, classes.tolist()))
    return assemble(name, (train[0], numbered[0]), (test[0], numbered[1]), len(classes), names)
