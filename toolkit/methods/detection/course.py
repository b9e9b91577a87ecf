"""The images of all steps, read and split once per process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from toolkit.core.once import read_once
from toolkit.datasets import find
from toolkit.datasets.detection import folders
from toolkit.datasets.detection.annotations import Annotations, Box, ImageEntry
from toolkit.datasets.detection.images import DetectionSet, InMemory
from toolkit.datasets.detection.scenes import scenes
from toolkit.datasets.detection.split import split_classes
from toolkit.errors import DataError
from toolkit.learning.detection.inversion import InversionRecipe, drawn_boxes
from toolkit.learning.detection.pasting import Pool
from toolkit.learning.detection.ratios import RatioHistogram, ratio_histogram
from toolkit.methods.detection.settings import DataSettings, SplitSettings

MOST_SCENE_BYTES = 1e9
"""Of all scenes, which are made before a run begins and kept in memory."""


class Course(NamedTuple):
    """What is learnt in which step; labels count the classes in the order in which they come."""

    steps: tuple[DetectionSet, ...]
    test: DetectionSet
    sizes: tuple[int, ...]
    dropped: int
    """Images that belong to no step."""

    def seen(self, step: int) -> int:
        """Classes known after *step*."""
        return sum(self.sizes[: step + 1])

    def classes(self, step: int) -> range:
        """The labels that come in *step*."""
        return range(self.seen(step - 1) if step else 0, self.seen(step))

    def without_old(self, step: int) -> Course:
        """Return what an increment has: the images of earlier steps raise a DataError when they are touched."""
        return self._replace(steps=tuple(each.guarded() if number < step else each for number, each in enumerate(self.steps)))

    def everything(self) -> DetectionSet:
        """All images of all steps as one set."""
        return _together(self.steps)


@read_once(4, lambda data, split: [Path(data.folder)] if data.folder else [])
def course(data: DataSettings, split: SplitSettings) -> Course:
    """Return the images of *data*, split by *split*.

    Raises:
        DataError: images are missing or damaged, or do not make these steps.
    """
    if data.kind == "scenes":
        return _of_scenes(data, split)
    if data.kind == "blank":
        return _blank(data, split)
    train, test = _read(data)
    found = split_classes(train.annotations, split.sizes, split.protocol)
    ids = tuple(number for step in found.steps for number in step.category_ids)
    steps = []
    for number, step in enumerate(found.steps):
        images = train.part((image.id for image in step.annotations.images), ids, f"{train.name}, step {number}")
        steps.append(DetectionSet(images.name, images.pixels, data.side, step.annotations, ids))
    return Course(tuple(steps), DetectionSet(test.name, test.pixels, data.side, test.annotations, ids, test.originals),
                  tuple(split.sizes), len(found.dropped))


def _of_scenes(data: DataSettings, split: SplitSettings) -> Course:
    """Scenes of each step's digits alone, or with earlier digits unlabelled; for testing, scenes of all."""
    total = sum(split.sizes)
    if total > 10:
        raise DataError(f"program.split.sizes: {split.sizes} are {total} classes, and there are 10 digits")
    if (data.train * len(split.sizes) + data.test) * 3 * data.side**2 > MOST_SCENE_BYTES:
        raise DataError(f"program.data: {data.train} scenes of each step with {data.side} pixels take more than 1 GB; take fewer")
    ids = tuple(range(1, total + 1))
    steps, begin = [], 0
    for number, size in enumerate(split.sizes):
        own = tuple(range(begin, begin + size))
        earlier = tuple(range(begin)) if split.protocol == "co_occurrence" else ()
        made = scenes(data.train, classes=own, side=data.side, seed=data.seed, source=data.digits, unlabelled=earlier)
        steps.append(DetectionSet(f"{made.name}, step {number}", made.pixels, data.side, made.annotations, ids))
        begin += size
    test = scenes(data.test, classes=tuple(range(total)), split="test", side=data.side, seed=data.seed, source=data.digits)
    return Course(tuple(steps), test, tuple(split.sizes), 0)


def _blank(data: DataSettings, split: SplitSettings) -> Course:
    """Images without content that take no memory; one of each step has as many objects as any."""
    ids = tuple(range(1, sum(split.sizes) + 1))
    black, sizes = torch.zeros((1, 3, data.side, data.side), dtype=torch.uint8), tuple(split.sizes)
    steps, begin, square = [], 0, float(data.side) / 4
    for number, size in enumerate(sizes):
        own = ids[begin : begin + size]
        entries = tuple(ImageEntry(place + 1, "", data.side, data.side) for place in range(data.train))
        boxes = tuple(
            Box(place + 1, 1, own[place % size], (0.0, 0.0, square, square), square**2) for place in range(max(data.objects, size))
        )
        annotations = Annotations(entries, tuple((each, f"class {each}") for each in own), boxes[: data.objects], "blank")
        steps.append(DetectionSet(f"blank, step {number}", InMemory(black.expand(data.train, -1, -1, -1)), data.side, annotations, ids))
        begin += size
    return Course(tuple(steps), steps[0], sizes, 0)


def _read(data: DataSettings) -> tuple[DetectionSet, DetectionSet]:
    name = data.name or Path(data.folder or "").name
    folder = find(name, data.folder, (name,), lambda place: (place / data.train_json).exists() or (place / "Annotations").is_dir())
    if data.kind == "voc":
        return tuple(  # type: ignore[return-value]
            folders.voc(folder, data.side, split=split) for split in (data.train_json, data.test_json)
        )
    return (
        folders.coco(folder / data.train_json, _images(folder, data.train_images), data.side),
        folders.coco(folder / data.test_json, _images(folder, data.test_images), data.side),
    )


def _images(folder: Path, name: str) -> Path:
    """Return the folder of images, or the tar file of that name."""
    place = folder / name
    packed = place.with_name(f"{place.name}.tar")
    return packed if not place.exists() and packed.exists() else place


def _together(parts: Sequence[DetectionSet]) -> DetectionSet:
    """Return several sets as one, their images numbered anew."""
    images: list[ImageEntry] = []
    boxes: list[Box] = []
    pixels = []
    for part in parts:
        number = {image.id: len(images) + place + 1 for place, image in enumerate(part.annotations.images)}
        images += [image._replace(id=number[image.id]) for image in part.annotations.images]
        begin = len(boxes) + 1
        boxes += [box._replace(image_id=number[box.image_id], id=begin + place) for place, box in enumerate(part.annotations.boxes)]
        pixels.append(part.images)
    categories = tuple(sorted({each for part in parts for each in part.annotations.categories}))
    annotations = Annotations(tuple(images), categories, tuple(boxes), "all steps")
    return DetectionSet("all steps", InMemory(torch.cat(pixels)), parts[0].side, annotations, parts[0].ids)


def histograms(data: DetectionSet, classes: range) -> list[RatioHistogram]:
    """Return the shapes of the boxes of *classes* (labels) in *data*: what is kept of a step."""
    found = []
    for label in classes:
        sides = np.array([box.bbox[2:] for box in data.annotations.boxes if box.category_id == data.ids[label]]).reshape(-1, 2)
        found.append(ratio_histogram(sides[:, 0], sides[:, 1]))
    return found


def noise_objects(shapes: Sequence[RatioHistogram], recipe: InversionRecipe, rng: np.random.Generator) -> Pool:
    """Return rectangles of noise, of the sizes that generated objects would have, so many of each class."""
    labels = [label for _ in range(recipe.per_class) for label in range(len(shapes))]
    blank = torch.zeros((len(labels), 3, recipe.side, recipe.side), dtype=torch.uint8)
    return Pool.noise(Pool.cut(blank, drawn_boxes(labels, shapes, recipe, rng), torch.tensor(labels)), rng)


def joined_pools(pools: Sequence[Pool]) -> Pool:
    """Return all objects of *pools*."""
    return Pool(tuple(crop for pool in pools for crop in pool.crops), torch.cat([pool.labels for pool in pools]))


def real_crops(data: DetectionSet, classes: range, per_class: int, seed: int) -> Pool:
    """Return crops of real objects of *classes*, so many of each at most, drawn by *seed*."""
    rng = np.random.default_rng([seed, classes.start, 4])
    place = {image.id: number for number, image in enumerate(data.annotations.images)}
    chosen = []
    for label in classes:
        own = [box for box in data.annotations.boxes if box.category_id == data.ids[label]]
        chosen += [(own[each], label) for each in rng.permutation(len(own))[:per_class].tolist()]
    if not chosen:
        return Pool((), torch.zeros(0, dtype=torch.int64))
    images = data.pixels.take(torch.tensor([place[box.image_id] for box, _ in chosen]))
    corners = torch.tensor([[box.bbox[0], box.bbox[1], box.bbox[0] + box.bbox[2], box.bbox[1] + box.bbox[3]] for box, _ in chosen])
    return Pool.cut(images, corners, torch.tensor([label for _, label in chosen]))
