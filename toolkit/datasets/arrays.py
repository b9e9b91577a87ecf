"""Arrays of one's own in an ``.npz`` file.

    dataset: {type: arrays, file: mine.npz}

Arrays `x` and `y`, of which a share is for testing; or `x_train`, `y_train`, `x_test`, `y_test` (the names of Keras); or `images` and
`labels`, alone or with `train_` and `test_` before them.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from toolkit.datasets import Dataset
from toolkit.datasets.own import Labels, as_pixels, own_dataset, stratified
from toolkit.errors import DataError, listed

SPLIT_NAMES = (("x_train", "y_train", "x_test", "y_test"), ("train_images", "train_labels", "test_images", "test_labels"))
WHOLE_NAMES = (("x", "y"), ("images", "labels"))


def load(file: Path, *, test_share: float = 0.2, seed: int = 0) -> Dataset:
    """Return the data set in *file*; *test_share* and *seed* split what is not split.

    Raises:
        DataError: the file holds no such arrays, or they are not images and labels.
    """
    name = f"arrays {file.name}"
    if not 0 < test_share < 1:
        raise DataError(f"{name}: test_share {test_share:g} must be between 0 and 1")
    try:
        with np.load(file) as content:
            held = {key: content[key] for key in content.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{name}: {file} cannot be read as an npz file of arrays ({type(error).__name__})") from error
    for names in SPLIT_NAMES:
        if all(key in held for key in names):
            x_train, y_train, x_test, y_test = (held[key] for key in names)
            return own_dataset(name, (as_pixels(name, x_train), flat(y_train)), (as_pixels(name, x_test), flat(y_test)))
    for x, y in WHOLE_NAMES:
        if x in held and y in held:
            pixels, labels = as_pixels(name, held[x]), flat(held[y])
            if len(pixels) != len(labels):
                raise DataError(f"{name}: {len(pixels)} images and {len(labels)} labels; there must be one label per image")
            try:
                train, test = stratified(labels, test_share, seed)
            except DataError as error:
                raise DataError(f"{name}: {error}") from error
            return own_dataset(name, (pixels[train], labels[train]), (pixels[test], labels[test]))
    raise DataError(f"{name}: holds the arrays {listed(held) or 'none'}; it must hold x and y, or x_train, y_train, x_test and y_test")


def flat(labels: Labels) -> Labels:
    """Return labels (n, 1), as some tools write them, as (n,)."""
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
