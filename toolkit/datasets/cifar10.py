"""CIFAR-10: colour images of 32x32 pixels in ten classes.

Source: A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009, and the page that describes both file layouts. Read
from a folder with the "python" files (`data_batch_1` to `_5`, `test_batch`: pickles), the "binary" files (`data_batch_1.bin`, ...: one
byte of label and 3,072 of pixels per image), or `train.npz` and `test.npz` with JPEG files end to end (`jpeg`, `offsets`, `labels`).
JPEG copies are not the original pixels: accuracies from them compare with each other only, and the name `cifar10-jpeg` says so.
Pickles can run code when they are opened. Here they may build arrays, and nothing else.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.datasets import Dataset, Indices, Pixels, assemble, find
from toolkit.errors import DataError

SHAPE = (3, 32, 32)
ROW = 3 * 32 * 32
FOLDERS = ("cifar10", "cifar-10-batches-py", "cifar-10-batches-bin", "cifar10/cifar-10-batches-py", "cifar10/cifar-10-batches-bin")
TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST = "test_batch"

ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
    ("numpy._core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): lambda text, encoding: text.encode(encoding),
}


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
        ("cifar10", read_pickle, TRAIN, TEST),
        ("cifar10", read_binary, tuple(f"{name}.bin" for name in TRAIN), f"{TEST}.bin"),
        ("cifar10-jpeg", read_jpeg_npz, ("train.npz",), "test.npz"),
    )
    for name, reader, train, test in layouts:
        files = [folder / file for file in (*train, test)]
        if all(file.is_file() for file in files):
            return name, reader, tuple(files[:-1]), files[-1]
    return None


@lru_cache(maxsize=2)
def _read(folder: Path) -> Dataset:
    layout = _layout(folder)
    assert layout is not None, "find() has looked"
    name, reader, train, test = layout
    parts = [reader(file) for file in train]
    images, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    return assemble(name, (images, labels), reader(test), 10)


class _ArraysOnly(pickle.Unpickler):
    """Refuses whatever a pickle of arrays, lists and text does not need."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return ALLOWED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}, which data do not need") from None


def read_pickle(file: Path) -> tuple[Pixels, Indices]:
    """Return images (n, 3, 32, 32) and labels (n,) of one file of the "python" layout.

    Raises:
        DataError: the file is not such a pickle, or asks for anything but arrays.
    """
    try:
        content = _ArraysOnly(io.BytesIO(file.read_bytes()), encoding="bytes").load()
        pixels, labels = np.asarray(content[b"data"]), np.asarray(content[b"labels"], dtype=np.int64)
    # Bytes that are no pickle make the unpickler raise nearly anything; each of these means the same to the user.
    except (pickle.UnpicklingError, EOFError, KeyError, IndexError, ValueError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise DataError(f"cifar10: {file} is not a batch of the python layout ({error})") from error
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != ROW:
        raise DataError(f"cifar10: {file}: data must be bytes (n, {ROW}), got {pixels.dtype} {pixels.shape}")
    return pixels.reshape(-1, *SHAPE), labels


def read_binary(file: Path) -> tuple[Pixels, Indices]:
    """Return images (n, 3, 32, 32) and labels (n,) of one file of the "binary" layout.

    Raises:
        DataError: the length is not that of whole records.
    """
    content = np.fromfile(file, np.uint8)
    if not len(content) or len(content) % (ROW + 1):
        raise DataError(f"cifar10: {file} has {len(content)} bytes, which is not a multiple of {ROW + 1} (one label and {ROW} pixels)")
    rows = content.reshape(-1, ROW + 1)
    return rows[:, 1:].reshape(-1, *SHAPE), rows[:, 0].astype(np.int64)


def read_jpeg_npz(file: Path) -> tuple[Pixels, Indices]:
    """Return images (n, 3, 32, 32) and labels (n,) of JPEG files in an npz; grey ones become colour.

    Raises:
        DataError: an array is missing, an image is broken or of another size, or Pillow is not installed.
    """
    try:
        from PIL import Image, UnidentifiedImageError  # only JPEG copies need it
    except ImportError:
        raise DataError(f"cifar10: {file} holds JPEG images, and reading them needs the package Pillow, which is not installed") from None
    try:
        with np.load(file) as content:
            raw, offsets, labels = content["jpeg"].tobytes(), content["offsets"], content["labels"].astype(np.int64)
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise DataError(f"cifar10: {file} must hold the arrays jpeg, offsets and labels ({error})") from error
    images = np.empty((len(offsets) - 1, 32, 32, 3), np.uint8)
    for place, (begin, end) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
        try:
            image = Image.open(io.BytesIO(raw[begin:end])).convert("RGB")
        except (UnidentifiedImageError, OSError) as error:
            raise DataError(f"cifar10: {file}: image {place} cannot be decoded ({error})") from error
        if image.size != (32, 32):
            raise DataError(f"cifar10: {file}: image {place} is {image.size[0]}x{image.size[1]}, it must be 32x32")
        images[place] = np.asarray(image)
    return images.transpose(0, 3, 1, 2), labels
