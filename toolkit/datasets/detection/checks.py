"""What is wrong with a set of annotated images: found, counted and named before anything is learnt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.datasets.detection.annotations import Annotations, Box
from toolkit.errors import DataError

SLACK = 1.0
"""Pixels by which rounding may let a box reach over a border."""
FATAL = ("duplicate image ids", "duplicate category ids", "duplicate box ids", "boxes of unknown categories", "boxes of unknown images",
         "images that are not there", "images that do not decode", "boxes that are not finite")
"""Flaws that leave open what is meant."""


@dataclass(frozen=True)
class Flaw:
    """One kind of flaw of a set."""

    kind: str
    count: int
    example: str
    """The first one."""

    @property
    def fatal(self) -> bool:
        return self.kind in FATAL

    def __str__(self) -> str:
        return f"{self.count} {self.kind} (first: {self.example})"


def flaws(annotations: Annotations) -> list[Flaw]:
    """Return what is wrong with *annotations* alone; kinds in the order in which they were met."""
    found: dict[str, list[str]] = {}

    def note(kind: str, example: object) -> None:
        found.setdefault(kind, []).append(str(example))

    for kind, ids in (
        ("duplicate image ids", [image.id for image in annotations.images]),
        ("duplicate category ids", [number for number, _ in annotations.categories]),
        ("duplicate box ids", [box.id for box in annotations.boxes]),
    ):
        for number, times in Counter(ids).items():
            if times > 1:
                note(kind, number)
    sizes = {image.id: image for image in annotations.images}
    known = {number for number, _ in annotations.categories}
    holding, used = set(), set()
    for box in annotations.boxes:
        image = sizes.get(box.image_id)
        if image is None:
            note("boxes of unknown images", f"box {box.id} of image {box.image_id}")
        if box.category_id not in known:
            note("boxes of unknown categories", f"box {box.id} of category {box.category_id}")
        if box.bbox[2] <= 0 or box.bbox[3] <= 0:
            note("boxes without area", f"box {box.id}, {box.bbox[2]:g} x {box.bbox[3]:g}")
        elif image is not None and _lies_outside(box, image.width, image.height):
            note("boxes outside their image", f"box {box.id} in {image.file_name or image.id}")
        elif image is not None and _reaches_over(box, image.width, image.height):
            note("boxes over the border of their image", f"box {box.id} in {image.file_name or image.id}")
        holding.add(box.image_id)
        used.add(box.category_id)
    for image in annotations.images:
        if image.width <= 0 or image.height <= 0:
            note("images without area", image.file_name or image.id)
        if image.id not in holding:
            note("images without a box", image.file_name or image.id)
    for number, name in annotations.categories:
        if number not in used:
            note("categories without a box", name)
    return [Flaw(kind, len(examples), examples[0]) for kind, examples in found.items()]


def _lies_outside(box: Box, width: float, height: float) -> bool:
    x, y, wide, high = box.bbox
    return x >= width or y >= height or x + wide <= 0 or y + high <= 0


def _reaches_over(box: Box, width: float, height: float) -> bool:
    x, y, wide, high = box.bbox
    return x < -SLACK or y < -SLACK or x + wide > width + SLACK or y + high > height + SLACK


def image_flaws(annotations: Annotations, folder: Path) -> list[Flaw]:
    """Return what is wrong with the files of *annotations* in *folder*; those of another depth or colour are read all the same."""
    from PIL import Image, UnidentifiedImageError

    found: dict[str, list[str]] = {}
    for entry in annotations.images:
        path = folder / entry.file_name
        if not path.is_file():
            found.setdefault("images that are not there", []).append(entry.file_name)
            continue
        try:
            with Image.open(path) as image:
                image.load()
                mode, size = image.mode, image.size
        except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError):
            found.setdefault("images that do not decode", []).append(entry.file_name)
            continue
        if size != (entry.width, entry.height):
            found.setdefault("images of another size than stated", []).append(
                f"{entry.file_name} is {size[0]} x {size[1]}, stated {entry.width} x {entry.height}"
            )
        if mode.startswith("I") or mode == "F":
            found.setdefault("images of 16 bits", []).append(entry.file_name)
        elif mode in ("1", "L", "LA"):
            found.setdefault("grey images", []).append(entry.file_name)
    return [Flaw(kind, len(examples), examples[0]) for kind, examples in found.items()]


def usable(annotations: Annotations, found: Iterable[Flaw]) -> Annotations:
    """Return *annotations* cut at the borders, without boxes that have no area there; crowds are left out.

    Raises:
        DataError: a flaw among *found* leaves open what is meant; all of these are named in one sentence.
    """
    fatal = [flaw for flaw in found if flaw.fatal]
    if fatal:
        raise DataError(f"{annotations.name}: has {'; '.join(map(str, fatal))}; mend or remove them")
    sizes = {image.id: image for image in annotations.images}
    boxes = []
    for box in annotations.boxes:
        image = sizes[box.image_id]
        left, top = max(0.0, box.bbox[0]), max(0.0, box.bbox[1])
        right, bottom = min(float(image.width), box.bbox[0] + box.bbox[2]), min(float(image.height), box.bbox[1] + box.bbox[3])
        if right > left and bottom > top and not box.iscrowd:
            boxes.append(box._replace(bbox=(left, top, right - left, bottom - top)))
    return replace(annotations, boxes=tuple(boxes))


def told(found: Iterable[Flaw]) -> str:
    """Return flaws in one line; empty where there are none."""
    return "; ".join(map(str, found))
