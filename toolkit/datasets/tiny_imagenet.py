"""Tiny-ImageNet: colour images of 64x64 pixels in 200 classes.

Source: the Stanford course CS231n, 2015. Read from its folder (`wnids.txt`, `train/<wnid>/images/*.JPEG`, `val/images` with
`val/val_annotations.txt`), or from `train.npz` (or any `train-*.npz`) and `val.npz` with JPEG files end to end. Classes are numbered in the
order of the sorted names; the validation set is the test set, since the labels of the other were never published.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from toolkit.core.once import read_once
from toolkit.datasets import Dataset, Indices, Pixels, assemble, find
from toolkit.datasets.layouts import decode, read_jpeg_npz
from toolkit.errors import DataError

NAME = "tiny_imagenet"
FOLDERS = ("tiny-imagenet", "tiny-imagenet-200", "tiny_imagenet", "tiny-imagenet/tiny-imagenet-200")
CLASSES = 200
SIDE = 64


def load(path: str | Path | None = None) -> Dataset:
    """Return Tiny-ImageNet: images (n, 3, 64, 64) of 200 classes, from the folder *path*, TOOLKIT_DATA or `data`.

    Raises:
        MissingDataError: it is in none of these.
        DataError: a file is not what it should be, or Pillow is not installed.
    """
    return _read(find(NAME, path, FOLDERS, lambda place: _train_npz(place) is not None or (place / "wnids.txt").is_file()))


def _train_npz(folder: Path) -> Path | None:
    if not (folder / "val.npz").is_file():
        return None
    return next(iter(sorted(folder.glob("train*.npz"))), None)


@read_once(1)
def _read(folder: Path) -> Dataset:
    train = _train_npz(folder)
    if train is not None:
        parts = read_jpeg_npz(NAME, train, SIDE), read_jpeg_npz(NAME, folder / "val.npz", SIDE)
    else:
        names = sorted((folder / "wnids.txt").read_text(encoding="utf-8").split())
        parts = _train_folder(folder, names), _val_folder(folder, names)
    return assemble(NAME, *parts, CLASSES)


def _train_folder(folder: Path, names: list[str]) -> tuple[Pixels, Indices]:
    files = [(file, label) for label, name in enumerate(names) for file in sorted((folder / "train" / name / "images").glob("*.JPEG"))]
    return _decoded(files, folder / "train")


def _val_folder(folder: Path, names: list[str]) -> tuple[Pixels, Indices]:
    table = folder / "val" / "val_annotations.txt"
    try:
        rows = [line.split("\t")[:2] for line in table.read_text(encoding="utf-8").splitlines() if line.strip()]
        files = [(folder / "val" / "images" / file, names.index(wnid)) for file, wnid in rows]
    except (OSError, ValueError) as error:
        raise DataError(f"{NAME}: {table} must name an image and one of the {len(names)} classes of wnids.txt a line ({error})") from error
    return _decoded(files, folder / "val")


def _decoded(files: list[tuple[Path, int]], where: Path) -> tuple[Pixels, Indices]:
    if not files:
        raise DataError(f"{NAME}: {where} holds no .JPEG files")
    images = decode(NAME, (file.read_bytes() for file, _ in files), len(files), SIDE, str(where))
    return images, np.array([label for _, label in files], np.int64)
