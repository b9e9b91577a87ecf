"""CIFAR-10: colour images of 32x32 pixels in ten classes.

Source: A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009, and the page that describes both file layouts. Read
from a folder with the "python" files (`data_batch_1` to `_5`, `test_batch`: pickles), the "binary" files (`data_batch_1.bin`, ...: one
byte of label and 3,072 of pixels per image), or `train.npz` and `test.npz` with JPEG files end to end (`jpeg`, `offsets`, `labels`).
JPEG copies are not the original pixels: accuracies from them compare with each other only, and the name `cifar10-jpeg` says so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from toolkit.core.once import read_once
from toolkit.datasets import Dataset, Indices, Pixels, assemble, find
from toolkit.datasets.layouts import read_binary, read_jpeg_npz, read_pickle

FOLDERS = ("cifar10", "cifar-10-batches-py", "cifar-10-batches-bin", "cifar10/cifar-10-batches-py", "cifar10/cifar-10-batches-bin")
TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST = "test_batch"


def load(path: str | Path | None = None) -> Dataset:
    """Return CIFAR-10: images (n, 3, 32, 32) of ten classes, from the folder *path*, TOOLKIT_DATA or `data`.

    Raises:
        MissingDataError: it is in none of these.
        DataError: a file is not what it should be, or JPEG files are met and Pillow is not installed.
    """
    return _read(find("cifar10", path, FOLDERS, lambda place: _layout(place) is not None))


def _layout(folder: Path) -> tuple[str, Callable[[Path], tuple[Pixels, Indices]], tuple[Path, ...], Path] | None:
    """Return name, reader and files of the layout that *folder* holds, if it holds one wholly."""
    layouts: tuple[tuple[str, Callable[[Path], tuple[Pixels, Indices]], tuple[str, ...], str], ...] = (
        ("cifar10", partial(read_pickle, "cifar10"), TRAIN, TEST),
        ("cifar10", partial(read_binary, "cifar10"), tuple(f"{name}.bin" for name in TRAIN), f"{TEST}.bin"),
        ("cifar10-jpeg", partial(read_jpeg_npz, "cifar10"), ("train.npz",), "test.npz"),
    )
    for name, reader, train, test in layouts:
        files = [folder / file for file in (*train, test)]
        if all(file.is_file() for file in files):
            return name, reader, tuple(files[:-1]), files[-1]
    return None


@read_once(2)
def _read(folder: Path) -> Dataset:
    layout = _layout(folder)
    assert layout is not None, "find() has looked"
    name, reader, train, test = layout
    parts = [reader(file) for file in train]
    images, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    return assemble(name, (images, labels), reader(test), 10)
