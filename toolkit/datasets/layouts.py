"""File layouts that data sets share: pickles of arrays, records of bytes, JPEG files end to end.

Pickles can run code when they are opened. Here they may build arrays, and nothing else.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.datasets import Indices, Pixels
from toolkit.datasets.cache import decoded_once
from toolkit.errors import DataError

SHAPE = (3, 32, 32)
ROW = 3 * 32 * 32
ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
    ("numpy._core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): lambda text, encoding: text.encode(encoding),
}


class _ArraysOnly(pickle.Unpickler):
    """Refuses whatever a pickle of arrays, lists and text does not need."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return ALLOWED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}, which data do not need") from None


def read_pickle(name: str, file: Path, labels_key: bytes = b"labels") -> tuple[Pixels, Indices]:
    """Return images (n, 3, 32, 32) and labels (n,) of one file of CIFAR's "python" layout.

    Raises:
        DataError: the file is not such a pickle, or asks for anything but arrays.
    """
    try:
        content = _ArraysOnly(io.BytesIO(file.read_bytes()), encoding="bytes").load()
        pixels, labels = np.asarray(content[b"data"]), np.asarray(content[labels_key], dtype=np.int64)
    # Bytes that are no pickle make the unpickler raise nearly anything; each of these means the same to the user.
    except (pickle.UnpicklingError, EOFError, KeyError, IndexError, ValueError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise DataError(f"{name}: {file} is not a batch of the python layout ({error})") from error
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != ROW:
        raise DataError(f"{name}: {file}: data must be bytes (n, {ROW}), got {pixels.dtype} {pixels.shape}")
    return pixels.reshape(-1, *SHAPE), labels


def read_binary(name: str, file: Path, label_bytes: int = 1) -> tuple[Pixels, Indices]:
    """Return images (n, 3, 32, 32) and labels (n,) of one file of CIFAR's "binary" layout; of several bytes of labels the last counts.

    Raises:
        DataError: the length is not that of whole records.
    """
    content = np.fromfile(file, np.uint8)
    record = label_bytes + ROW
    if not len(content) or len(content) % record:
        what = "one label" if label_bytes == 1 else f"{label_bytes} labels"
        raise DataError(f"{name}: {file} has {len(content)} bytes, which is not a multiple of {record} ({what} and {ROW} pixels)")
    rows = content.reshape(-1, record)
    return rows[:, label_bytes:].reshape(-1, *SHAPE), rows[:, label_bytes - 1].astype(np.int64)


def read_jpeg_npz(name: str, file: Path, side: int = 32) -> tuple[Pixels, Indices]:
    """Return images (n, 3, side, side) and labels (n,) of JPEG files end to end (`jpeg`, `offsets`, `labels`); grey ones become colour.

    They are decoded once (`toolkit.datasets.cache`).

    Raises:
        DataError: an array is missing, an image is broken or of another size, or Pillow is not installed.
    """
    kept = decoded_once([file], {"side": side}, lambda: dict(zip(("pixels", "labels"), _decoded_npz(name, file, side), strict=True)))
    return kept["pixels"].astype(np.uint8, copy=False), kept["labels"].astype(np.int64, copy=False)


def _decoded_npz(name: str, file: Path, side: int) -> tuple[Pixels, Indices]:
    try:
        with np.load(file) as content:
            raw, offsets, labels = content["jpeg"].tobytes(), content["offsets"], content["labels"].astype(np.int64)
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{name}: {file} must hold the arrays jpeg, offsets and labels ({error})") from error
    ends = offsets.tolist()
    return decode(name, (raw[begin:end] for begin, end in pairwise(ends)), len(ends) - 1, side, str(file)), labels


def decode(name: str, files: Iterable[bytes], count: int, side: int, where: str) -> Pixels:
    """Return *count* images (count, 3, side, side) of the bytes of image files; grey ones become colour.

    Raises:
        DataError: an image is broken or of another size, or Pillow is not installed.
    """
    try:
        from PIL import Image, UnidentifiedImageError  # only image files need it
    except ImportError:
        raise DataError(f"{name}: {where} holds JPEG images, and reading them needs the package Pillow, which is not installed") from None
    images = np.empty((count, side, side, 3), np.uint8)
    for place, content in enumerate(files):
        try:
            image = Image.open(io.BytesIO(content)).convert("RGB")
        except (UnidentifiedImageError, OSError) as error:
            raise DataError(f"{name}: {where}: image {place} cannot be decoded ({error})") from error
        if image.size != (side, side):
            raise DataError(f"{name}: {where}: image {place} is {image.size[0]}x{image.size[1]}, it must be {side}x{side}")
        images[place] = np.asarray(image)
    return images.transpose(0, 3, 1, 2)
