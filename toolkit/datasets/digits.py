"""The 1,797 handwritten digits of 8x8 pixels that scikit-learn ships.

Source: E. Alpaydin, C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI machine learning repository 1998 (the test part of it).
The file is read where scikit-learn keeps it; scikit-learn itself, whose import takes seconds, is not imported. Split: of every class the
5th, 10th, ... sample in the order of the file is for testing (1,442 to train, 355 to test), so there is no seed to agree on. Departure:
the 17 grey levels 0 to 16 are stretched to 0 to 255, as all images here have the full range; `round(16 x / 255)` gives them back.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from toolkit.datasets import Dataset, MissingDataError, assemble, every_fifth
from toolkit.errors import DataError

FILE = "digits.csv.gz"
SIDE = 8
LEVELS = 16


def load(path: str | Path | None = None) -> Dataset:
    """Return the digits: images (n, 1, 8, 8) of ten classes; *path* is the file or its folder instead of scikit-learn's own.

    Raises:
        MissingDataError: scikit-learn is not installed, or the file is not at *path*.
        DataError: the file is not what it should be.
    """
    if path is None:
        spec = find_spec("sklearn")
        if spec is None or spec.origin is None:
            raise MissingDataError(f"digits: scikit-learn, which ships them, is not installed; install it or give the path of its {FILE}")
        file = Path(spec.origin).parent / "datasets" / "data" / FILE
    else:
        file = Path(path) / FILE if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise MissingDataError(f"digits: {file} is not there; it is the file {FILE} of scikit-learn's datasets/data")
    return _read(file.resolve())


@lru_cache(maxsize=2)
def _read(file: Path) -> Dataset:
    try:
        table = np.loadtxt(file, delimiter=",", dtype=np.int64)
    except (ValueError, OSError) as error:
        raise DataError(f"digits: {file} is not a table of whole numbers ({error})") from error
    if table.ndim != 2 or table.shape[1] != SIDE * SIDE + 1 or table.min() < 0 or table[:, :-1].max() > LEVELS:
        raise DataError(f"digits: {file} must have rows of 64 grey levels from 0 to 16 and a label, its shape is {table.shape}")
    images = np.rint(table[:, :-1] * (255 / LEVELS)).astype(np.uint8).reshape(-1, 1, SIDE, SIDE)
    labels = table[:, -1]
    train, test = every_fifth(labels)
    return assemble("digits", (images[train], labels[train]), (images[test], labels[test]), 10)
