"""Sets of images of one size with boxes, from which batches are taken."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toolkit.datasets.detection.annotations import Annotations, Box, ImageEntry
from toolkit.datasets.detection.targets import Targets
from toolkit.errors import DataError

GREY = 114
"""Of what is around an image that is not as wide as it is high."""


class Pixels(ABC):
    """Where the pixels of images come from."""

    @abstractmethod
    def take(self, index: Tensor) -> Tensor:
        """Return bytes (n, 3, side, side) of the images at the places *index* (n,)."""


@final
class InMemory(Pixels):
    """Pixels that are all there."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def take(self, index: Tensor) -> Tensor:
        return self.images[index]


@final
class OnDisk(Pixels):
    """Files that are decoded each time they are asked for."""

    def __init__(self, files: Sequence[Path], side: int) -> None:
        self.files, self.side = list(files), side

    def take(self, index: Tensor) -> Tensor:
        return torch.from_numpy(np.stack([decoded(self.files[place], self.side) for place in index.tolist()]))


@final
class Guarded(Pixels):
    """Old images, of which an increment may not have any: whoever asks is told so."""

    def take(self, index: Tensor) -> Tensor:
        raise DataError("old images were asked for in an increment; they are gone, and this method was said to need none")


@dataclass(frozen=True, eq=False)
class DetectionSet:
    """Images of one square size with boxes; labels are places among `names`."""

    name: str
    pixels: Pixels
    side: int
    annotations: Annotations
    """Boxes in pixels of these images."""
    category_ids: tuple[int, ...] = field(default=())
    """In the order of the labels; without them the ids of the annotations in their order."""
    originals: Annotations | None = None
    """The same boxes in pixels of the images as they were before they were scaled; None where they were not."""

    @cached_property
    def ids(self) -> tuple[int, ...]:
        return self.category_ids or tuple(number for number, _ in self.annotations.categories)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the classes, by label."""
        by_id = dict(self.annotations.categories)
        return tuple(by_id.get(number, str(number)) for number in self.ids)

    def __len__(self) -> int:
        return len(self.annotations.images)

    @property
    def images(self) -> Tensor:
        """All images as bytes (n, 3, side, side)."""
        return self.pixels.take(torch.arange(len(self)))

    @cached_property
    def most_boxes(self) -> int:
        """The largest number of boxes of an image, at least 1: what targets are padded to."""
        return max([1, *map(len, self._by_image)])

    @cached_property
    def _by_image(self) -> list[list[Box]]:
        by_id, wanted = self.annotations.of_images(), set(self.ids)
        return [[box for box in by_id[image.id] if box.category_id in wanted] for image in self.annotations.images]

    @cached_property
    def _padded(self) -> Targets:
        """The targets of all images."""
        count, most = len(self), self.most_boxes
        boxes, labels, valid = torch.zeros(count, most, 4), torch.zeros(count, most, dtype=torch.int64), torch.zeros(count, most)
        place_of = {number: place for place, number in enumerate(self.ids)}
        for row, own in enumerate(self._by_image):
            for column, box in enumerate(own):
                x, y, width, height = box.bbox
                boxes[row, column] = torch.tensor([x, y, x + width, y + height])
                labels[row, column], valid[row, column] = place_of[box.category_id], 1.0
        return Targets(boxes, labels, valid > 0)

    def targets(self, index: Tensor) -> Targets:
        """Return the objects of the images at the places *index*."""
        padded = self._padded
        return Targets(padded.boxes[index], padded.labels[index], padded.valid[index])

    def batch(self, index: Tensor) -> tuple[Tensor, Targets]:
        """Return images (n, 3, side, side) with values from 0 to 1 at the places *index* (n,), and their objects."""
        return self.pixels.take(index).to(torch.float32) / 255, self.targets(index)

    def part(self, image_ids: Iterable[int], category_ids: Sequence[int], name: str) -> DetectionSet:
        """Return the images with these ids, with boxes of these categories alone, whose order gives the labels."""
        wanted = set(image_ids)
        places = [place for place, image in enumerate(self.annotations.images) if image.id in wanted]
        annotations = self.annotations.with_images(wanted).with_categories(category_ids)
        return DetectionSet(name, _Part(self.pixels, torch.tensor(places, dtype=torch.int64)), self.side, annotations, tuple(category_ids))

    def guarded(self) -> DetectionSet:
        """Return what an increment may know of these images: nothing that it could look at."""
        return DetectionSet(self.name, Guarded(), self.side, self.annotations, self.category_ids)

    def results(self, found: Iterable[tuple[Tensor, Tensor, Tensor]]) -> list[dict[str, Any]]:
        """Return boxes, scores and labels of each image, in the order of the images, as COCO results in pixels of the original images."""
        rows = []
        sizes = (self.originals or self.annotations).images
        for image, (boxes, scores, labels) in zip(sizes, found, strict=True):
            boxes = boxes / scale_of(image, self.side)  # noqa: PLW2901 - from here on in the original's pixels
            for (x1, y1, x2, y2), score, label in zip(boxes.tolist(), scores.tolist(), labels.tolist(), strict=True):
                rows.append({"image_id": image.id, "category_id": self.ids[label], "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score})
        return rows


@final
class _Part(Pixels):
    def __init__(self, whole: Pixels, places: Tensor) -> None:
        self.whole, self.places = whole, places

    def take(self, index: Tensor) -> Tensor:
        return self.whole.take(self.places[index])


def scale_of(entry: ImageEntry, side: int) -> float:
    """Return by what an image's pixels are multiplied to fit into *side* x *side*."""
    return side / max(entry.width, entry.height)


def scaled_annotations(annotations: Annotations, side: int) -> Annotations:
    """Return *annotations* in pixels of images that were scaled into the upper left of *side* x *side*."""
    scales = {image.id: scale_of(image, side) for image in annotations.images}
    return Annotations(
        tuple(image._replace(width=side, height=side) for image in annotations.images), annotations.categories,
        tuple(
            box._replace(bbox=_times(box.bbox, scales[box.image_id]), area=box.area * scales[box.image_id] ** 2)
            for box in annotations.boxes
        ), annotations.name,
    )


def _times(bbox: tuple[float, float, float, float], factor: float) -> tuple[float, float, float, float]:
    x, y, width, height = bbox
    return x * factor, y * factor, width * factor, height * factor


def decoded(file: Path, side: int) -> NDArray[np.uint8]:
    """Return an image in colour, scaled into the upper left of bytes (3, *side*, *side*), grey around it; 16 bits are cut to 8.

    Raises:
        DataError: it cannot be read.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as opened:
            opened.load()
            image: Image.Image = opened
            if image.mode.startswith("I") or image.mode == "F":
                values = np.asarray(image, np.float64)
                top = 65535.0 if values.max(initial=0) > 255 else 255.0
                image = Image.fromarray(np.clip(values / top * 255, 0, 255).astype(np.uint8))
            colour = image.convert("RGB")
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise DataError(f"{file}: does not decode as an image ({error})") from error
    factor = side / max(colour.size)
    size = (max(1, min(side, round(colour.width * factor))), max(1, min(side, round(colour.height * factor))))
    canvas = np.full((side, side, 3), GREY, np.uint8)
    canvas[: size[1], : size[0]] = np.asarray(colour.resize(size, Image.Resampling.BILINEAR))
    return np.ascontiguousarray(canvas.transpose(2, 0, 1))
