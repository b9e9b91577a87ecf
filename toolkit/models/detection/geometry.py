"""Boxes: areas, overlaps, and their distances from a point.

Sources: GIoU is eq. 1-5 of Rezatofighi et al. 2019 (arXiv 1902.09630); boxes as distances of four sides, Tian et al. 2019 (FCOS).
"""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-7
"""Keeps quotients of empty boxes finite; far below a pixel."""


def area(boxes: Tensor) -> Tensor:
    """Return the areas (...) of *boxes* (..., 4)."""
    return (boxes[..., 2] - boxes[..., 0]).clamp(min=0) * (boxes[..., 3] - boxes[..., 1]).clamp(min=0)


def intersection(first: Tensor, second: Tensor) -> Tensor:
    """Return the common area of boxes that broadcast against each other."""
    least = torch.maximum(first[..., :2], second[..., :2])
    most = torch.minimum(first[..., 2:], second[..., 2:])
    sides = (most - least).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def iou(first: Tensor, second: Tensor) -> Tensor:
    """Return intersection over union of boxes that broadcast against each other, in [0, 1]."""
    common = intersection(first, second)
    return common / (area(first) + area(second) - common).clamp(min=EPSILON)


def pairwise_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return (..., n, m) overlaps of *first* (..., n, 4) with *second* (..., m, 4)."""
    return iou(first.unsqueeze(-2), second.unsqueeze(-3))


def giou(first: Tensor, second: Tensor) -> Tensor:
    """Return the generalised IoU of boxes that broadcast against each other, in [-1, 1]; 1 for identical boxes."""
    common = intersection(first, second)
    union = area(first) + area(second) - common
    least = torch.minimum(first[..., :2], second[..., :2])
    most = torch.maximum(first[..., 2:], second[..., 2:])
    hull = (most[..., 0] - least[..., 0]).clamp(min=0) * (most[..., 1] - least[..., 1]).clamp(min=0)
    return common / union.clamp(min=EPSILON) - (hull - union) / hull.clamp(min=EPSILON)


def to_distances(points: Tensor, boxes: Tensor) -> Tensor:
    """Return distances (..., 4) of *points* (..., 2) to the left, top, right and bottom of *boxes*; negative outside."""
    return torch.cat([points - boxes[..., :2], boxes[..., 2:] - points], dim=-1)


def from_distances(points: Tensor, distances: Tensor) -> Tensor:
    """Return the boxes of which *points* have these *distances*."""
    return torch.cat([points - distances[..., :2], points + distances[..., 2:]], dim=-1)


def clipped(boxes: Tensor, width: float, height: float) -> Tensor:
    """Return *boxes* cut at the borders of an image."""
    return torch.stack([
        boxes[..., 0].clamp(0, width), boxes[..., 1].clamp(0, height), boxes[..., 2].clamp(0, width), boxes[..., 3].clamp(0, height),
    ], dim=-1)
