"""Augmented replay: objects of old classes laid into images of new ones, while these are trained on.

Source: EGOR, section on replay, written from its description. One mixing share lambda ~ Beta(2, 2) per image; up to six objects, dealt in
repeated permutations of the pool, in their own size; 20 tries with the upper left corner in the left 60 % and top 40 % of the image, then
20 with the lower right corner in the right 60 % and bottom 40 %. Departures: done as batches are made, so nothing is stored; an object of
which less than half would lie inside is not laid there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toolkit.datasets.detection.targets import Targets

Boxes = NDArray[np.float64]
MOST = 6
TRIES = 20
COVERS = 0.3
"""Share of a box that is there already that a new one may cover."""
COVERED = 0.1
"""Share of a new box that one that is there may cover."""
WIDE = 0.75
"""An image in which an object spans more of both axes gets none."""
LEAST_INSIDE = 0.5


@dataclass(frozen=True, eq=False)
class Pool:
    """Objects that can be laid into images."""

    crops: tuple[Tensor, ...]
    """Bytes (3, height, width)."""
    labels: Tensor
    """(n,)."""

    @classmethod
    def cut(cls, images: Tensor, boxes: Tensor, labels: Tensor) -> Self:
        """Return what is inside *boxes* (n, 4) of *images* (n, 3, height, width) of bytes, a box each."""
        crops = []
        for image, box in zip(images, boxes, strict=True):
            x1, y1 = int(box[0].floor().clamp(min=0)), int(box[1].floor().clamp(min=0))
            crops.append(image[:, y1 : max(y1 + 1, int(box[3].ceil())), x1 : max(x1 + 1, int(box[2].ceil()))].clone())
        return cls(tuple(crops), labels.clone())

    @classmethod
    def noise(cls, like: Self, rng: np.random.Generator) -> Self:
        """Return rectangles of uniform noise of the same sizes and labels as *like*'s: the control that has no content."""
        return cls(
            tuple(torch.from_numpy(rng.integers(0, 256, tuple(crop.shape), dtype=np.uint8)) for crop in like.crops), like.labels.clone()
        )

    @property
    def nbytes(self) -> int:
        return sum(crop.nbytes for crop in self.crops)

    def __len__(self) -> int:
        return len(self.crops)


class Pasted(NamedTuple):
    """One image with objects laid into it."""

    image: Tensor
    boxes: Boxes
    """(n, 4) of those laid there."""
    labels: list[int]


def shares_of_first(first: Boxes, second: Boxes) -> Boxes:
    """Return (n, m): what share of each box of *first* (n, 4) lies in each of *second* (m, 4)."""
    least = np.maximum(first[:, None, :2], second[None, :, :2])
    most = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common = np.clip(most - least, 0, None).prod(axis=2)
    own = np.clip(first[:, 2:] - first[:, :2], 0, None).prod(axis=1)
    shares: Boxes = common / np.maximum(own, 1e-9)[:, None]
    return shares


def allowed(new: Boxes, there: Boxes) -> NDArray[np.bool_]:
    """Return which of *new* boxes (n, 4) may lie beside those that are *there* (m, 4)."""
    if not len(there):
        return np.ones(len(new), np.bool_)
    fits: NDArray[np.bool_] = (shares_of_first(there, new).max(axis=0) <= COVERS) & (shares_of_first(new, there).max(axis=1) <= COVERED)
    return fits


def _tried(rng: np.random.Generator, size: tuple[int, int], image: tuple[int, int]) -> NDArray[np.int64]:
    """Return the upper left corners x, y (40, 2) where an object of *size* (height, width) is tried, in turn."""
    height, width = image
    first = np.stack([rng.integers(0, int(0.6 * width) + 1, TRIES), rng.integers(0, int(0.4 * height) + 1, TRIES)], axis=1)
    last = np.stack([
        rng.integers(int(0.4 * width), width + 1, TRIES) - size[1], rng.integers(int(0.6 * height), height + 1, TRIES) - size[0]
    ], axis=1)
    return np.concatenate([first, last]).astype(np.int64)


def paste(
    image: Tensor, boxes: Boxes, crops: list[Tensor], labels: list[int], mix: float, rng: np.random.Generator
) -> Pasted:
    """Lay *crops* into a copy of *image* (3, height, width), values from 0 to 1, where the rules allow it.

    Args:
        image: in which objects are at *boxes* (n, 4).
        boxes: of the objects that are there.
        crops: bytes (3, height, width), tried in this order.
        labels: of the crops.
        mix: share of the image in the pixels of an object; with 0 they are the crop's.
        rng: draws the places.
    """
    height, width = image.shape[1:]
    spans = (boxes[:, 2:] - boxes[:, :2]) / np.array([width, height])
    if len(boxes) and (spans > WIDE).all(axis=1).any():
        return Pasted(image, np.zeros((0, 4)), [])
    found, there, laid, names = image.clone(), boxes, [], []
    for crop, label in zip(crops, labels, strict=True):
        high, wide = crop.shape[1:]
        corners = _tried(rng, (high, wide), (height, width))
        ends = corners + np.array([wide, high])
        cut = np.concatenate([np.maximum(corners, 0), np.minimum(ends, np.array([width, height]))], axis=1).astype(np.float64)
        inside = np.clip(cut[:, 2:] - cut[:, :2], 0, None).prod(axis=1) >= LEAST_INSIDE * high * wide
        fits = np.flatnonzero(inside & allowed(cut, there))
        if not len(fits):
            continue
        x1, y1, x2, y2 = map(int, cut[fits[0]])
        x, y = map(int, corners[fits[0]])
        part = crop[:, y1 - y : y2 - y, x1 - x : x2 - x].to(found.dtype) / 255
        found[:, y1:y2, x1:x2] = part if mix == 0 else mix * found[:, y1:y2, x1:x2] + (1 - mix) * part
        there = np.concatenate([there, cut[fits[:1]]])
        laid.append(cut[fits[0]])
        names.append(label)
    return Pasted(found, np.array(laid).reshape(-1, 4), names)


def pasted_batch(images: Tensor, targets: Targets, pool: Pool, rng: np.random.Generator) -> tuple[Tensor, Targets]:
    """Return *images* (b, 3, height, width) with objects of *pool* in them, and what was laid there, padded to six per image."""
    count = len(images)
    order = np.concatenate([rng.permutation(len(pool)) for _ in range(-(-count * MOST // len(pool)))])
    boxes, labels = torch.zeros(count, MOST, 4), torch.zeros(count, MOST, dtype=torch.int64)
    valid, made = torch.zeros(count, MOST, dtype=torch.bool), []
    for place, image in enumerate(images):
        chosen = order[place * MOST : (place + 1) * MOST].tolist()
        found = paste(
            image, targets.boxes[place][targets.valid[place]].double().numpy(), [pool.crops[each] for each in chosen],
            [int(pool.labels[each]) for each in chosen], float(rng.beta(2, 2)), rng,
        )
        made.append(found.image)
        laid = len(found.labels)
        if laid:
            boxes[place, :laid], labels[place, :laid] = torch.from_numpy(found.boxes).float(), torch.tensor(found.labels)
            valid[place, :laid] = True
    return torch.stack(made), Targets(boxes, labels, valid)
