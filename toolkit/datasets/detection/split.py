"""Classes come in steps: which images belong to each, by the two protocols of incremental detection.

Non co-occurrence: a step has the images with objects of its classes and none of an earlier step's; images that show both are dropped, not
relabelled. Co-occurrence: those images belong to the later step too, with the earlier classes' objects unlabelled. The first step is the
same in both: every image with an object of its classes, annotated with these alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from toolkit.datasets.detection.annotations import Annotations
from toolkit.errors import DataError

Protocol = Literal["non_co_occurrence", "co_occurrence"]


class Step(NamedTuple):
    """One increment."""

    category_ids: tuple[int, ...]
    annotations: Annotations


class ClassSplit(NamedTuple):
    """All steps, and the ids of the images that belong to none."""

    steps: tuple[Step, ...]
    dropped: tuple[int, ...]


def split_classes(annotations: Annotations, sizes: Sequence[int], protocol: Protocol = "non_co_occurrence") -> ClassSplit:
    """Return *annotations* in steps of so many classes each, in the order of the categories' ids.

    Raises:
        DataError: there are fewer categories, or a step has none or no image.
    """
    ids = [number for number, _ in annotations.categories]
    if not sizes or min(sizes) < 1 or sum(sizes) > len(ids):
        raise DataError(f"{annotations.name}: steps of {list(sizes)} classes cannot be made of its {len(ids)} categories")
    shown: dict[int, set[int]] = {image.id: set() for image in annotations.images}
    for box in annotations.boxes:
        shown[box.image_id].add(box.category_id)
    steps, begin, taken = [], 0, set()
    for number, size in enumerate(sizes):
        own, earlier = set(ids[begin : begin + size]), set(ids[:begin])
        images = [
            image.id for image in annotations.images
            if shown[image.id] & own and not (protocol == "non_co_occurrence" and shown[image.id] & earlier)
        ]
        if not images:
            raise DataError(f"{annotations.name}: step {number} has no image; no image shows its classes without those of earlier steps")
        taken.update(images)
        steps.append(Step(tuple(sorted(own)), annotations.with_images(images).with_categories(own)))
        begin += size
    return ClassSplit(tuple(steps), tuple(image.id for image in annotations.images if image.id not in taken))
