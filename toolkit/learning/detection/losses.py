"""The losses of Generalized Focal Loss, and what they are made of.

Source: Li et al. 2020 (arXiv 2006.04388), eq. 5 (quality focal loss), eq. 6 (distribution focal loss); weights 1, 2 and 0.25 of its public
settings. All cells take part with weights, those without an object with weight 0, so the same operations happen whatever is in the images.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from toolkit.datasets.detection.targets import Targets
from toolkit.learning.detection.atss import Assignment, assign
from toolkit.models.detection.detector import Answer, Cells, Detector
from toolkit.models.detection.geometry import giou, iou, to_distances

BETA = 2.0
GIOU_WEIGHT, DFL_WEIGHT = 2.0, 0.25


def quality_focal_loss(logits: Tensor, quality: Tensor) -> Tensor:
    """Return eq. 5 for every score: |sigma - y|^2 times the cross-entropy of the score with the *quality* y in [0, 1]."""
    entropy = functional.binary_cross_entropy_with_logits(logits, quality, reduction="none")
    return (logits.sigmoid() - quality).abs() ** BETA * entropy


def distribution_focal_loss(bins: Tensor, distances: Tensor) -> Tensor:
    """Return eq. 6 (...) of logits *bins* (..., n + 1) for *distances* (...) in [0, n): cross-entropies of both neighbours."""
    below = distances.floor()
    above_share = distances - below
    logs = bins.log_softmax(dim=-1)
    lower = below.to(torch.int64).unsqueeze(-1)
    at_lower, at_upper = logs.gather(-1, lower).squeeze(-1), logs.gather(-1, lower + 1).squeeze(-1)
    return -((1 - above_share) * at_lower + above_share * at_upper)


class DetectionLoss(NamedTuple):
    """The terms of a batch, and what was learnt on the way."""

    quality: Tensor
    boxes: Tensor
    sides: Tensor
    scale: Tensor
    """The factor s of eq. in `adaptive_scale`, without a gradient."""

    @property
    def total(self) -> Tensor:
        return self.quality + self.boxes + self.sides


def detection_loss(detector: Detector, answer: Answer, targets: Targets, *, first_class: int = 0) -> DetectionLoss:
    """Return the loss of *answer* against *targets*, whose labels count from *first_class*; columns before that take no part."""
    cells = detector.cells(answer)
    found = assign(cells, targets, detector.anchor)
    return assigned_loss(detector, answer, cells, found, first_class=first_class)


def assigned_loss(detector: Detector, answer: Answer, cells: Cells, found: Assignment, *, first_class: int = 0) -> DetectionLoss:
    """Return the loss of *answer*, where each cell is to say what *found* says."""
    logits = answer.logits[..., first_class:]
    boxes = detector.boxes(answer, cells)
    positive = found.positive.to(logits.dtype)
    wanted = torch.where(found.positive, found.labels - first_class, torch.zeros_like(found.labels))
    with torch.no_grad():
        overlap = iou(boxes, found.boxes) * positive
        quality = torch.zeros_like(logits).scatter(2, wanted.unsqueeze(-1), overlap.unsqueeze(-1))
        scores = logits.sigmoid()
        weight = scores.amax(dim=-1) * positive
        total = weight.sum().clamp(min=1e-6)
        own = scores.gather(2, wanted.unsqueeze(-1)).squeeze(-1)
        scale = adaptive_scale(overlap, own, positive, cells.counts)
    count = positive.sum().clamp(min=1.0)
    distances = to_distances(cells.points, found.boxes) / cells.strides.unsqueeze(-1)
    sides = distribution_focal_loss(answer.bins, distances.clamp(0, detector.reg_max - 0.01)).mean(dim=-1)
    apart = 1 - giou(boxes, torch.where(found.positive.unsqueeze(-1), found.boxes, boxes.detach()))
    return DetectionLoss(
        quality_focal_loss(logits, quality).sum() / count, GIOU_WEIGHT * (apart * weight).sum() / total,
        DFL_WEIGHT * (sides * weight).sum() / total, scale,
    )


def adaptive_scale(overlap: Tensor, score: Tensor, positive: Tensor, counts: tuple[int, ...]) -> Tensor:
    """Return s: the mean over levels of the mean over their positive cells of |IoU - score|, in [0, 1]; 1 where nothing is positive.

    Levels without positive cells take no part. Near 0.5 while the new classes are unknown, it falls as they are learnt.

    Args:
        overlap: (b, cells) IoU of the predicted box with its object.
        score: (b, cells) of the object's class.
        positive: (b, cells) 1 or 0.
        counts: cells of each level.
    """
    gaps = torch.split((overlap - score).abs() * positive, list(counts), dim=1)
    numbers = torch.stack([part.sum() for part in torch.split(positive, list(counts), dim=1)])
    sums = torch.stack([gap.sum() for gap in gaps])
    taking_part = numbers > 0
    levels = taking_part.sum()
    mean = (sums / numbers.clamp(min=1)).sum() / levels.clamp(min=1)
    return torch.where(levels > 0, mean, torch.ones_like(mean))
