"""Data that a program has at hand, written to the cache so that a scenario can name them: ``{type: arrays, file: …}``."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.datasets import Dataset, Pixels
from toolkit.datasets.arrays import SPLIT_NAMES, flat
from toolkit.datasets.cache import cache_folder
from toolkit.datasets.own import CHANNELS, Labels, as_pixels
from toolkit.errors import DataError, listed

WHOLE = 1e-3
"""How far from a whole number of 255ths a float may be and still be a byte."""
Arrays = dict[str, NDArray[np.generic]]


def stored(data: object) -> dict[str, str]:
    """Write *data* where `toolkit.datasets.arrays` reads them, under a name that follows from what they are; return the data set's spec.

    Args:
        data: a `Dataset`; a pair (images, labels) of arrays or tensors; a map-style torch dataset of such pairs; a pair of any two of
            these, for training and testing; or (x_train, y_train, x_test, y_test).

    Raises:
        DataError: they are none of these, or no images; or the cache cannot be written.
    """
    return _write(_arrays(data))


def stored_tasks(tasks: Sequence[object]) -> tuple[dict[str, str], list[list[str]]]:
    """Write one data set for each task as one; return its spec, and the names of the classes that each task brings.

    Raises:
        DataError: as `stored`; or two tasks share a class, differ in shape, or only some of them say what is for testing.
    """
    parts = [_arrays(task) for task in tasks]
    if not parts:
        raise DataError("tasks: the list is empty; give one data set for each task")
    if len({tuple(part) for part in parts}) > 1:
        raise DataError("tasks: some say what is for testing and some do not; give (training, test) for all of them or for none")
    shapes = {key: {part[key].shape[1:] for part in parts} for key in parts[0] if key.startswith("x")}
    differing = [key for key, found in shapes.items() if len(found) > 1]
    if differing:
        raise DataError(f"tasks: images have the shapes {listed(sorted(map(str, shapes[differing[0]])))}; they must agree")
    labels = "y" if "y" in parts[0] else SPLIT_NAMES[0][1]
    classes = [[str(label) for label in np.unique(part[labels]).tolist()] for part in parts]
    every = [name for names in classes for name in names]
    shared = sorted({name for name in every if every.count(name) > 1})
    if shared:
        raise DataError(f"tasks: class {listed(shared)} is in more than one task; every task brings classes of its own")
    return _write({key: np.concatenate([part[key] for part in parts]) for key in parts[0]}), classes


def _write(arrays: Arrays) -> dict[str, str]:
    digest = hashlib.sha256()
    for key, values in arrays.items():
        digest.update(f"{key} {values.dtype} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    place = cache_folder() / f"given-{digest.hexdigest()[:24]}.npz"
    if not place.is_file():
        partial = place.with_suffix(".partial.npz")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            np.savez(partial, **arrays)  # type: ignore[arg-type]
            partial.replace(place)
        except OSError as error:
            raise DataError(f"{place}: cannot be written ({error.strerror or error}); set TOOLKIT_CACHE to a folder that can") from error
    return {"type": "arrays", "file": str(place)}


def _arrays(data: object) -> Arrays:
    if isinstance(data, Dataset):
        data = (data.train_images, data.train_labels), (data.test_images, data.test_labels)
    if isinstance(data, tuple | list) and len(data) == 4:
        data = (data[0], data[1]), (data[2], data[3])
    if isinstance(data, tuple | list) and len(data) == 2 and not _is_array(data[1]):
        (x_train, y_train), (x_test, y_test) = (_one_set(part) for part in data)
        return dict(zip(SPLIT_NAMES[0], (x_train, y_train, x_test, y_test), strict=True))
    x, y = _one_set(data)
    return {"x": x, "y": y}


def _one_set(data: object) -> tuple[Pixels, Labels]:
    if isinstance(data, tuple | list) and len(data) == 2:
        images, labels = (np.asarray(part) for part in data)
    elif hasattr(data, "__getitem__") and hasattr(data, "__len__") and not _is_array(data):
        images, labels = _gathered(data)
    else:
        kind = type(data).__name__
        raise DataError(f"data: {kind} is no data set; give (images, labels), a map-style torch dataset, or the name of a data set")
    pixels, named = as_pixels("data", _bytes(images)), flat(labels)
    if named.ndim != 1 or len(named) != len(pixels):
        raise DataError(f"data: {len(pixels)} images and labels of the shape {named.shape}; give one label per image")
    return pixels, named


def _gathered(data: Any) -> tuple[NDArray[np.generic], Labels]:
    """Return all images and labels of a map-style dataset."""
    images, labels = [], []
    for place in range(len(data)):
        try:
            image, label = data[place][:2]
        except (TypeError, ValueError, IndexError) as error:
            raise DataError(f"data: item {place} is not a pair (image, label) ({type(error).__name__})") from error
        found = np.asarray(image)
        if found.ndim == 3 and found.shape[2] in CHANNELS and not hasattr(image, "detach"):
            found = found.transpose(2, 0, 1)  # pictures have their channels last, tensors first
        images.append(found)
        labels.append(int(label) if not isinstance(label, str) else label)
    if len({image.shape for image in images}) > 1:
        raise DataError(f"data: images have the shapes {listed(sorted({str(image.shape) for image in images}))}; scale them to one")
    return np.stack(images) if images else np.zeros((0, 0, 0)), np.asarray(labels)


def _bytes(images: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return floats that are bytes over 255 as bytes; all else as it is."""
    if images.dtype.kind != "f" or not images.size:
        return images
    scaled = 255 * images.astype(np.float64)
    whole = np.round(scaled)
    if whole.min() < 0 or whole.max() > 255 or np.abs(scaled - whole).max() > WHOLE:
        raise DataError(
            f"data: images are floats from {images.min():g} to {images.max():g} that are no bytes over 255; give them as bytes, "
            "neither normalised nor augmented (the toolkit does both)"
        )
    return whole.astype(np.uint8)


def _is_array(item: object) -> bool:
    return hasattr(item, "shape") or (isinstance(item, list) and bool(item) and isinstance(item[0], int | str | float))
