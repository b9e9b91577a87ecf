"""CIFAR-100: colour images of 32x32 pixels in a hundred fine classes.

Source: A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009. Read from a folder with the "python" files (`train`,
`test`: pickles with `fine_labels`), the "binary" files (`train.bin`, `test.bin`: a coarse and a fine label, then 3,072 pixels), or
`train.npz` and `test.npz` with JPEG files end to end, under the name `cifar100-jpeg`. The fine labels are the classes.
"""

from __future__ import annotations

from pathlib import Path

from toolkit.core.once import read_once
from toolkit.datasets import Dataset, assemble, find
from toolkit.datasets.layouts import read_binary, read_jpeg_npz, read_pickle

FOLDERS = ("cifar100", "cifar-100-python", "cifar-100-binary", "cifar100/cifar-100-python", "cifar100/cifar-100-binary")
CLASSES = 100


def load(path: str | Path | None = None) -> Dataset:
    """Return CIFAR-100: images (n, 3, 32, 32) of a hundred classes, from the folder *path*, TOOLKIT_DATA or `data`.

    Raises:
        MissingDataError: it is in none of these.
        DataError: a file is not what it should be, or JPEG files are met and Pillow is not installed.
    """
    return _read(find("cifar100", path, FOLDERS, lambda place: bool(_ending(place))))


def _ending(folder: Path) -> str:
    """Return which layout *folder* holds, by the ending of its files."""
    def whole(end: str) -> bool:
        return all((folder / f"{part}{end.strip()}").is_file() for part in ("train", "test"))

    return next((end for end in (" ", ".bin", ".npz") if whole(end)), "")


@read_once(2)
def _read(folder: Path) -> Dataset:
    end = _ending(folder)
    parts = []
    for part in ("train", "test"):
        file = folder / f"{part}{end.strip()}"
        if end == ".bin":
            parts.append(read_binary("cifar100", file, label_bytes=2))
        elif end == ".npz":
            parts.append(read_jpeg_npz("cifar100", file))
        else:
            parts.append(read_pickle("cifar100", file, b"fine_labels"))
    return assemble("cifar100-jpeg" if end == ".npz" else "cifar100", parts[0], parts[1], CLASSES)
