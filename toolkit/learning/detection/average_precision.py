"""Average precision as COCO defines it, for all images, classes, sizes and thresholds at once; the same numbers as pycocotools.

Definition: detections of a class are taken by score; each takes the best free object of its image that it overlaps enough, real ones before
those that do not count (crowds, other sizes); precision is made monotone and averaged over 101 recalls; AP is the mean over overlaps
0.5, 0.55 ... 0.95 and classes. Only the ranks of detections within an image are gone through one by one, as each may take an object
from the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from toolkit.datasets.detection.annotations import Annotations, Coco, read_coco, read_json
from toolkit.errors import DataError, shortened

Floats = NDArray[np.float64]
Truths = NDArray[np.bool_]
Whole = NDArray[np.int64]
Detections: TypeAlias = str | Path | Sequence[Mapping[str, Any]]

THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10)
RECALLS: Floats = np.linspace(0.0, 1.0, 101)
MOST = 100
"""Detections of a class that count in an image."""
SIZES = {"": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Areas in square pixels that count, by the ending of a result's name."""
NONE = -1.0
"""What a mean is where there is no such object, as with pycocotools."""


class Groups(NamedTuple):
    """Detections and objects of one class in one image each: g groups, padded to d and o."""

    category: Whole
    """(g,) places among the categories."""
    scores: Floats
    """(g, d); -inf where padded."""
    overlaps: Floats
    """(g, d, o); -1 where padded."""
    areas: Floats
    """(g, d) of detections."""
    object_areas: Floats
    """(g, o)."""
    crowd: Truths
    there: Truths
    """(g, o): False where padded."""


def evaluate(
    ground_truth: str | Path | Coco | Annotations, detections: Detections, *, groups: Mapping[str, Iterable[int]] | None = None
) -> dict[str, Any]:
    """Return how good *detections* are.

    Args:
        ground_truth: COCO json by its path or as plain values, or annotations that were read.
        detections: COCO results by path or as a list of ``{image_id, category_id, bbox, score}``.
        groups: category ids by a name of one's own (``{"old": [1, 2], "new": [3]}``).

    Returns:
        ``AP``, ``AP50``, ``AP75``, ``APsmall``, ``APmedium``, ``APlarge``, ``AR1``, ``AR10``, ``AR100``, ``ARsmall``, ``ARmedium``,
        ``ARlarge``; ``per_class``, of each category's name the same APs; ``groups``, means of these over the categories of each group.
        A mean over nothing is -1.

    Raises:
        DataError: a file is not what it should be, or a detection is of an image or category that is not there.
    """
    truth = ground_truth if isinstance(ground_truth, Annotations) else read_coco(ground_truth)
    gathered = _gathered(truth, _listed(detections))
    ids = [number for number, _ in truth.categories]
    precision = np.full((len(SIZES), len(ids), len(THRESHOLDS)), NONE)
    recall = np.full((len(SIZES), len(ids), len(THRESHOLDS), 3), NONE)
    for size, limits in enumerate(SIZES.values()):
        matched, ignored, counted = _matched(gathered, limits)
        for place in range(len(ids)):
            rows = np.flatnonzero(gathered.category == place)
            objects = int(counted[rows].sum())
            if objects:
                precision[size, place], recall[size, place] = _curves(gathered.scores[rows], matched[rows], ignored[rows], objects)
    by_class = {
        name: _precisions(precision[:, place : place + 1]) for place, (_, name) in enumerate(truth.categories)
    }
    found: dict[str, Any] = _precisions(precision)
    found |= {f"AR{most}": _mean(recall[0, ..., place]) for place, most in enumerate((1, 10, MOST))}
    found |= {f"AR{name}": _mean(recall[size, ..., 2]) for size, name in enumerate(SIZES) if name}
    found["per_class"] = by_class
    found["groups"] = {
        name: _precisions(precision[:, [ids.index(number) for number in members if number in ids]])
        for name, members in (groups or {}).items()
    }
    return found


def _precisions(precision: Floats) -> dict[str, float]:
    """Return the six APs of *precision* (sizes, categories, thresholds)."""
    return {
        "AP": _mean(precision[0]), "AP50": _mean(precision[0, :, 0]), "AP75": _mean(precision[0, :, 5]),
        **{f"AP{name}": _mean(precision[size]) for size, name in enumerate(SIZES) if name},
    }


def _mean(values: Floats) -> float:
    there = values[values > NONE]
    return float(there.mean()) if there.size else NONE


def _listed(detections: Detections) -> Sequence[Mapping[str, Any]]:
    found = read_json(Path(detections)) if isinstance(detections, str | Path) else detections
    if not isinstance(found, Sequence) or isinstance(found, str):
        raise DataError(f"detections: must be a list of image_id, category_id, bbox and score, and is a {type(found).__name__}")
    return found


def _columns(found: Sequence[Mapping[str, Any]]) -> tuple[Whole, Whole, Floats, Floats]:
    """Return image ids, category ids, boxes and scores."""
    try:
        images = np.array([item["image_id"] for item in found], np.int64)
        categories = np.array([item["category_id"] for item in found], np.int64)
        boxes = np.array([item["bbox"] for item in found], np.float64).reshape(-1, 4)
        scores = np.array([item["score"] for item in found], np.float64)
    except (KeyError, TypeError, ValueError) as error:
        for place, item in enumerate(found):
            if not isinstance(item, Mapping) or not {"image_id", "category_id", "bbox", "score"} <= item.keys():
                raise DataError(
                    f"detections[{place}]: needs image_id, category_id, bbox and score (got {shortened(repr(item))})"
                ) from error
        raise DataError(f"detections: ids, boxes and scores must be numbers ({shortened(str(error))})") from error
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        raise DataError("detections: boxes and scores must be finite numbers")
    return images, categories, boxes, scores


def _gathered(truth: Annotations, found: Sequence[Mapping[str, Any]]) -> Groups:
    """Sort objects and detections into groups of one image and class, the best `MOST` detections of each, best first."""
    image_ids = np.array([image.id for image in truth.images], np.int64)
    category_ids = np.array([number for number, _ in truth.categories], np.int64)
    images, categories, boxes, scores = _columns(found)
    for what, ids, known in (("an image", images, image_ids), ("a category", categories, category_ids)):
        strange = ~np.isin(ids, known)
        if strange.any():
            raise DataError(f"detections: {int(strange.sum())} are of {what} that is not among the annotations (first: {ids[strange][0]})")
    truths = [box for box in truth.boxes if box.category_id in set(category_ids.tolist())]
    own_image = np.array([box.image_id for box in truths], np.int64)
    own_category = np.array([box.category_id for box in truths], np.int64)
    own_boxes = np.array([box.bbox for box in truths], np.float64).reshape(-1, 4)
    own_areas = np.array([box.area for box in truths], np.float64)
    crowds = np.array([box.iscrowd for box in truths], np.bool_)

    def key(image: Whole, category: Whole) -> Whole:
        ranked = np.searchsorted(np.sort(image_ids), image) * len(category_ids) + np.searchsorted(category_ids, category)
        return ranked.astype(np.int64)

    theirs, ours = key(images, categories), key(own_image, own_category)
    every = np.unique(np.concatenate([theirs, ours]))
    theirs, ours = np.searchsorted(every, theirs), np.searchsorted(every, ours)
    order = np.lexsort((np.arange(len(scores)), -scores, theirs))
    row, column = theirs[order], _ranks(theirs[order])
    kept = column < MOST
    order, row, column = order[kept], row[kept], column[kept]
    wide = int(column.max(initial=-1)) + 1
    placed = np.argsort(ours, kind="stable")
    own_row, own_column = ours[placed], _ranks(ours[placed])
    many = int(own_column.max(initial=-1)) + 1
    group_scores = np.full((len(every), wide), -np.inf)
    group_scores[row, column] = scores[order]
    found_boxes, true_boxes = np.zeros((len(every), wide, 4)), np.zeros((len(every), many, 4))
    found_boxes[row, column], true_boxes[own_row, own_column] = boxes[order], own_boxes[placed]
    there, crowd = np.zeros((len(every), many), np.bool_), np.zeros((len(every), many), np.bool_)
    areas = np.zeros((len(every), many))
    there[own_row, own_column], crowd[own_row, own_column], areas[own_row, own_column] = True, crowds[placed], own_areas[placed]
    overlaps = np.where(there[:, None], _overlaps(found_boxes, true_boxes, crowd), -1.0)
    return Groups(
        every % max(1, len(category_ids)), group_scores, overlaps, found_boxes[..., 2] * found_boxes[..., 3], areas, crowd, there
    )


def _ranks(keys: Whole) -> Whole:
    """Return the place of each of sorted *keys* among its equals."""
    begins = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]]) if len(keys) else np.zeros(0, np.int64)
    return np.arange(len(keys)) - np.repeat(begins, np.diff(np.r_[begins, len(keys)]))


def _overlaps(found: Floats, true: Floats, crowd: Truths) -> Floats:
    """Return IoU (g, d, o) of boxes as x, y, width, height; with a crowd the share of the detection that lies in it."""
    first, second = found[:, :, None], true[:, None]
    sides = np.minimum(first[..., :2] + first[..., 2:], second[..., :2] + second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
    common = np.clip(sides, 0, None).prod(axis=-1)
    own = first[..., 2:].prod(axis=-1)
    union = np.where(crowd[:, None], own, own + second[..., 2:].prod(axis=-1) - common)
    shares: Floats = common / np.where(union > 0, union, 1.0)
    return shares


def _matched(groups: Groups, limits: tuple[float, float]) -> tuple[Truths, Truths, Whole]:
    """Return which detections take an object and which do not count, both (g, d, thresholds), and how many objects of (g,) count."""
    count, wide, many = groups.overlaps.shape
    thresholds = len(THRESHOLDS)
    other_size = (groups.object_areas < limits[0]) | (groups.object_areas > limits[1])
    beside = (groups.crowd | other_size) & groups.there
    matched, ignored = np.zeros((count, wide, thresholds), np.bool_), np.zeros((count, wide, thresholds), np.bool_)
    counted = (groups.there & ~beside).sum(axis=1)
    outside = (groups.areas < limits[0]) | (groups.areas > limits[1])
    if many:
        free = np.repeat(groups.there[:, None], thresholds, axis=1)  # (g, thresholds, o)
        least = np.minimum(THRESHOLDS, 1 - 1e-10)[None, :, None]
        for rank in range(wide):
            rows = np.flatnonzero(groups.scores[:, rank] > -np.inf)
            overlap = groups.overlaps[rows, rank][:, None]
            allowed = (free[rows] | groups.crowd[rows][:, None]) & (overlap >= least)
            real = allowed & ~beside[rows][:, None]
            has_real = real.any(axis=2)
            choice = np.where(has_real[..., None], real, allowed)
            taken = many - 1 - np.where(choice, overlap, -1.0)[..., ::-1].argmax(axis=2)  # of equal ones the last
            takes = choice.any(axis=2)
            matched[rows, rank] = takes
            ignored[rows, rank] = takes & np.take_along_axis(beside[rows], taken, axis=1)
            group, threshold = np.nonzero(takes)
            free[rows[group], threshold, taken[group, threshold]] = False
    ignored |= ~matched & outside[..., None]
    return matched, ignored, counted


def _curves(scores: Floats, matched: Truths, ignored: Truths, objects: int) -> tuple[Floats, Floats]:
    """Return AP (thresholds,) of one class and its greatest recall (thresholds, 3) with 1, 10 and 100 detections per image."""
    there = scores > -np.inf
    rank = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)[there]
    order = np.argsort(-scores[there], kind="mergesort")
    hit, counts = (matched & ~ignored)[there][order], (~ignored)[there][order]
    true = np.cumsum(hit, axis=0, dtype=np.float64)
    false = np.cumsum(counts & ~hit, axis=0, dtype=np.float64)
    recall = true / objects
    precision = true / (true + false + np.spacing(1))
    precision = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    found = np.zeros(len(THRESHOLDS))
    for threshold in range(len(THRESHOLDS)):
        place = np.searchsorted(recall[:, threshold], RECALLS, side="left")
        found[threshold] = precision[place[place < len(precision)], threshold].sum() / len(RECALLS)
    within = [(hit & (rank[order] < most)[:, None]).sum(axis=0) / objects for most in (1, 10, MOST)]
    return found, np.stack(within, axis=1)
