"""A dataset of Hugging Face as `save_to_disk` leaves it: a folder of Arrow files.

    dataset: {type: hugging_face, folder: beans, size: 32}

A set with the splits `train` and `test` (or `validation` in its place), or one without splits, of which a share is for testing. Nothing is
fetched, and no code of the set is run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from toolkit.datasets import Dataset, Pixels
from toolkit.datasets.cache import decoded_once
from toolkit.datasets.images import squared
from toolkit.datasets.own import Labels, own_dataset, stratified
from toolkit.errors import DataError, listed

TESTED_ON = ("test", "validation", "valid", "dev")
"""Splits that can be tested on, the best first."""


def load(
    folder: Path, size: int = 32, *, image: str = "image", label: str = "label", grey: bool = False, test_share: float = 0.2, seed: int = 0
) -> Dataset:
    """Return the set in *folder*, whose columns *image* and *label* are what is seen and named, in *size* x *size* pixels.

    Raises:
        DataError: there is no such set, it lacks a column, an image does not decode, or the package `datasets` is not installed.
    """
    name = f"hugging_face {folder.name}"
    if not 1 <= size <= 4096 or not 0 < test_share < 1:
        raise DataError(f"{name}: size {size} must be from 1 to 4096 and test_share {test_share:g} between 0 and 1")
    parts = _splits(name, folder)
    files = sorted(folder.rglob("*.arrow"))
    held = {part: _told(name, rows, image, label) for part, rows in parts.items()}

    def decode() -> dict[str, Any]:
        return {part: _decoded(name, rows, image, size, grey=grey) for part, rows in parts.items()}

    arrays = decoded_once(files, {"size": size, "grey": grey, "image": image}, decode)
    pixels: dict[str, Pixels] = {part: array.astype(np.uint8, copy=False) for part, array in arrays.items()}
    if len(parts) == 2:
        train_on, test_on = parts
        return own_dataset(name, (pixels[train_on], held[train_on]), (pixels[test_on], held[test_on]))
    (only,) = parts
    try:
        train, test = stratified(held[only], test_share, seed)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    return own_dataset(name, (pixels[only][train], held[only][train]), (pixels[only][test], held[only][test]))


def _splits(name: str, folder: Path) -> dict[str, Any]:
    """Return the split to train on and the one to test on, or all there is as one."""
    try:
        import datasets
    except ImportError:
        raise DataError(f"{name}: reading it needs the package datasets, which is not installed: pip install datasets") from None
    if not folder.is_dir():
        raise DataError(f"{name}: {folder} is no folder")
    try:
        found = datasets.load_from_disk(str(folder))
    except (FileNotFoundError, ValueError, OSError) as error:
        raise DataError(f"{name}: {folder} is no set as datasets.save_to_disk leaves it ({type(error).__name__})") from error
    if not isinstance(found, datasets.DatasetDict):
        return {"all": found}
    tested = next((split for split in TESTED_ON if split in found), None)
    if "train" in found and tested is not None:
        return {"train": found["train"], tested: found[tested]}
    if len(found) == 1:
        return dict(found)
    raise DataError(f"{name}: has the splits {listed(found)}; it must have train and one of {listed(TESTED_ON)}, or one split alone")


def _told(name: str, rows: Any, image: str, label: str) -> Labels:
    """Return the labels of *rows*, by their names where the set has names for them."""
    for column in (image, label):
        if column not in rows.column_names:
            raise DataError(f"{name}: has no column '{column}' (there are {listed(rows.column_names)}); say image: and label:")
    labels = np.asarray(rows[label])
    names = getattr(rows.features[label], "names", None)
    return np.array([names[number] for number in labels]) if names else labels


def _decoded(name: str, rows: Any, image: str, size: int, *, grey: bool) -> Pixels:
    """Return the images of *rows* as (n, channels, size, size)."""
    try:
        from PIL import Image
    except ImportError:
        raise DataError(f"{name}: reading images needs Pillow, which is not installed: pip install 'toolkit[images]'") from None
    pixels = np.empty((len(rows), size, size, 1 if grey else 3), np.uint8)
    for place in range(len(rows)):
        try:
            seen = rows[place][image]
            if not isinstance(seen, Image.Image):
                seen = Image.fromarray(np.asarray(seen, np.uint8))
            pixels[place] = squared(seen, size, grey=grey)
        except (OSError, ValueError, SyntaxError, TypeError) as error:
            raise DataError(f"{name}: image {place} of column '{image}' cannot be read ({type(error).__name__})") from error
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
