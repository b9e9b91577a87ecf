"""Annotations in the layout of COCO: images, categories and boxes as x, y, width, height in pixels."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from toolkit.errors import DataError, shortened

Coco: TypeAlias = Mapping[str, Any]
"""What a file of annotations holds, as plain values."""


class ImageEntry(NamedTuple):
    """An image of a set."""

    id: int
    file_name: str
    width: int
    height: int


class Box(NamedTuple):
    """One annotated object."""

    id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    """x, y, width, height."""
    area: float
    iscrowd: bool = False


@dataclass(frozen=True)
class Annotations:
    """A set of annotated images. Categories and images are in the order of their ids."""

    images: tuple[ImageEntry, ...]
    categories: tuple[tuple[int, str], ...]
    """Id and name."""
    boxes: tuple[Box, ...]
    name: str = field(default="annotations", compare=False)

    def of_images(self) -> dict[int, list[Box]]:
        """Return the boxes of each image by its id, none for an empty one."""
        found: dict[int, list[Box]] = {image.id: [] for image in self.images}
        for box in self.boxes:
            found.setdefault(box.image_id, []).append(box)
        return found

    def with_categories(self, ids: Iterable[int]) -> Annotations:
        """Return the same images with the boxes of these categories alone."""
        wanted = set(ids)
        return replace(
            self, categories=tuple(each for each in self.categories if each[0] in wanted),
            boxes=tuple(box for box in self.boxes if box.category_id in wanted),
        )

    def with_images(self, ids: Iterable[int]) -> Annotations:
        """Return these images alone, with their boxes."""
        wanted = set(ids)
        return replace(
            self, images=tuple(each for each in self.images if each.id in wanted),
            boxes=tuple(box for box in self.boxes if box.image_id in wanted),
        )

    def to_coco(self) -> dict[str, Any]:
        """Return plain values in COCO's layout."""
        return {
            "images": [image._asdict() for image in self.images],
            "categories": [{"id": number, "name": name} for number, name in self.categories],
            "annotations": [
                {**box._asdict(), "bbox": list(box.bbox), "iscrowd": int(box.iscrowd)} for box in self.boxes
            ],
        }

    def write(self, path: str | Path) -> Path:
        """Write them as COCO json; return the path."""
        path = Path(path)
        path.write_text(json.dumps(self.to_coco()) + "\n", encoding="utf-8")
        return path


def plain_coco(source: str | Path | Coco) -> tuple[Coco, str]:
    """Return what *source*, a path or what such a file holds, says, and what to call it.

    Raises:
        DataError: it cannot be read, or is no JSON.
    """
    if isinstance(source, Mapping):
        return source, "annotations"
    path = Path(source)
    return _object(read_json(path), str(path)), str(path)


def read_json(path: Path) -> Any:
    """Return what a file of JSON holds.

    Raises:
        DataError: it cannot be read, or is none.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not JSON ({shortened(str(error))})") from error


def _object(value: Any, where: str) -> Coco:
    if not isinstance(value, Mapping):
        raise DataError(f"{where}: must be an object with images, annotations and categories, and is a {type(value).__name__}")
    return value


def read_coco(source: str | Path | Coco) -> Annotations:
    """Return the annotations of a COCO json, given by its path or as plain values; what its boxes are worth is `checks`' to say.

    Raises:
        DataError: a part is missing or is not what it should be; with its place.
    """
    data, where = plain_coco(source)
    for part in ("images", "annotations", "categories"):
        if not isinstance(data.get(part), list):
            raise DataError(f"{where}: has no list '{part}'; COCO's layout has images, annotations and categories")
    images = [
        ImageEntry(_whole(item, "id", at), str(item.get("file_name", "")), _whole(item, "width", at), _whole(item, "height", at))
        for item, at in _items(data, "images", where)
    ]
    categories = [(_whole(item, "id", at), str(item.get("name", item["id"]))) for item, at in _items(data, "categories", where)]
    boxes = []
    for place, (item, at) in enumerate(_items(data, "annotations", where)):
        bbox = item.get("bbox")
        if not isinstance(bbox, list | tuple) or len(bbox) != 4 or not all(_is_number(value) for value in bbox):
            raise DataError(f"{at}: its bbox must be four numbers x, y, width, height (got {shortened(repr(bbox))})")
        x, y, width, height = map(float, bbox)
        area = item.get("area", width * height)
        if not _is_number(area):
            raise DataError(f"{at}: its area must be a number (got {shortened(repr(area))})")
        number = _whole(item, "id", at) if "id" in item else place + 1
        boxes.append(Box(
            number, _whole(item, "image_id", at), _whole(item, "category_id", at), (x, y, width, height), float(area),
            bool(item.get("iscrowd", 0)),
        ))
    return Annotations(
        tuple(sorted(images, key=lambda image: image.id)), tuple(sorted(categories)), tuple(boxes),
        Path(where).stem if not isinstance(source, Mapping) else where,
    )


def _items(data: Coco, part: str, where: str) -> Iterable[tuple[Coco, str]]:
    for place, item in enumerate(data[part]):
        at = f"{where}: {part}[{place}]"
        yield _object(item, at), at


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _whole(item: Coco, key: str, at: str) -> int:
    value = item.get(key)
    if not isinstance(value, int | float) or not _is_number(value) or value != int(value):
        raise DataError(f"{at}: needs a whole number '{key}' (got {shortened(repr(value))})")
    return int(value)
