"""A folder of images of one's own: a folder per class, or a table that says which image shows what.

    dataset: {type: images, folder: photos, size: 32}

`photos/train/cat/1.png` with `photos/test/cat/2.png`; or `photos/cat/1.png`, of which a share is for testing; or, with `labels: l.csv`
(columns ``file,label`` and perhaps ``split``, of ``train`` and ``test``), images in any layout. PNG, JPEG and whatever else Pillow reads;
each is cut to a square from its middle and scaled.
"""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.datasets import Dataset, Indices, Pixels
from toolkit.datasets.cache import decoded_once
from toolkit.datasets.own import own_dataset, stratified
from toolkit.errors import DataError, listed

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
SPLITS = ("train", "test")
Named = list[tuple[Path, str]]
"""Images and their labels."""


def load(
    folder: Path, size: int = 32, *, labels: Path | None = None, grey: bool = False, test_share: float = 0.2, seed: int = 0
) -> Dataset:
    """Return the images of *folder* in *size* x *size* pixels, in colour or *grey*; *test_share* and *seed* split what is not split.

    Raises:
        DataError: there is no image, an image cannot be read, a class is empty, or a row of the table names none.
    """
    name = f"images {folder.name}"
    if not folder.is_dir():
        raise DataError(f"{name}: {folder} is no folder")
    if not 1 <= size <= 4096 or not 0 < test_share < 1:
        raise DataError(f"{name}: size {size} must be from 1 to 4096 and test_share {test_share:g} between 0 and 1")
    train, test = _listed(name, folder, labels)
    every = train + test
    arrays = decoded_once(
        [file for file, _ in every], {"size": size, "grey": grey},
        lambda: {"pixels": decoded(name, [file for file, _ in every], size, grey=grey)},
    )
    pixels: Pixels = arrays["pixels"].astype(np.uint8, copy=False)
    told = np.array([label for _, label in every])
    try:
        parts: tuple[Indices, Indices] = (
            (np.arange(len(train)), np.arange(len(train), len(every))) if test else stratified(told, test_share, seed)
        )
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    return own_dataset(name, (pixels[parts[0]], told[parts[0]]), (pixels[parts[1]], told[parts[1]]))


def _listed(name: str, folder: Path, labels: Path | None) -> tuple[Named, Named]:
    """Return the images for training and for testing; none for testing where they are to be drawn."""
    if labels is not None:
        return _from_table(name, folder, labels)
    split = [folder / part for part in SPLITS]
    if all(part.is_dir() for part in split):
        return _per_class(name, split[0]), _per_class(name, split[1])
    return _per_class(name, folder), []


def _per_class(name: str, folder: Path) -> Named:
    found: Named = []
    for place in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        images = sorted(path for path in place.rglob("*") if path.suffix.lower() in ENDINGS)
        if not images:
            raise DataError(f"{name}: {place} holds no image ({listed(ENDINGS)}), and every folder there stands for a class")
        found += [(path, place.name) for path in images]
    if not found:
        raise DataError(f"{name}: {folder} holds no folder per class; see docs/data.md for the layouts that are read")
    return found


def _from_table(name: str, folder: Path, table: Path) -> tuple[Named, Named]:
    with table.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    missing = [column for column in ("file", "label") if not rows or rows[0].get(column) is None]
    if missing:
        raise DataError(f"{name}: {table} needs the columns file, label and perhaps split; '{missing[0]}' is missing")
    parts: dict[str, Named] = {part: [] for part in SPLITS}
    for line, row in enumerate(rows, start=2):
        path, part = folder / row["file"], (row.get("split") or "train").strip()
        if part not in parts:
            raise DataError(f"{name}: {table}, line {line}: split '{part}' must be train or test")
        if not path.is_file():
            raise DataError(f"{name}: {table}, line {line}: there is no {path}")
        parts[part].append((path, row["label"].strip()))
    twice = [str(path) for path, count in Counter(path for part in parts.values() for path, _ in part).items() if count > 1]
    if twice:
        raise DataError(f"{name}: {table} names {listed(twice)} more than once")
    return parts["train"], parts["test"]


def decoded(name: str, files: list[Path], size: int, *, grey: bool) -> Pixels:
    """Return the images in *files* as (n, channels, size, size), cut to a square from the middle.

    Raises:
        DataError: one cannot be read, or Pillow is not installed.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise DataError(f"{name}: reading images needs Pillow, which is not installed: pip install 'toolkit[images]'") from None
    pixels = np.empty((len(files), size, size, 1 if grey else 3), np.uint8)
    for place, file in enumerate(files):
        try:
            with Image.open(file) as image:
                pixels[place] = squared(image, size, grey=grey)
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
            raise DataError(f"{name}: {file} cannot be read as an image ({type(error).__name__})") from error
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def squared(image: Any, size: int, *, grey: bool) -> Pixels:
    """Return a picture of Pillow's as (size, size, channels), cut to a square from its middle and scaled."""
    from PIL import Image, ImageOps

    square = ImageOps.fit(image.convert("L" if grey else "RGB"), (size, size), Image.Resampling.BILINEAR)
    return np.asarray(square).reshape(size, size, -1)
