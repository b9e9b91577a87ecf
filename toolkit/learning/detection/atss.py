"""ATSS: which cells an object belongs to, by statistics of the overlaps of its nearest anchors.

Source: Zhang et al. 2020, *Bridging the Gap Between Anchor-based and Anchor-free Detection* (arXiv 1912.02424), algorithm 1. All images
and objects at once: objects are padded to one number per image, and nothing depends on how many there are.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from toolkit.datasets.detection.targets import Targets
from toolkit.models.detection.detector import Cells
from toolkit.models.detection.geometry import pairwise_iou

NEAREST = 9
"""Candidates per level and object."""
INSIDE = 0.01
"""Pixels that a point lies inside a box at least."""
FAR = 1e9


class Assignment(NamedTuple):
    """What each cell of each image is to say."""

    positive: Tensor
    """(b, cells): whether an object belongs to it."""
    boxes: Tensor
    """(b, cells, 4) of that object; without meaning elsewhere."""
    labels: Tensor
    """(b, cells)."""


def assign(cells: Cells, targets: Targets, anchor: float) -> Assignment:
    """Return the objects of *targets* that the cells are responsible for; anchors are squares of *anchor* strides."""
    half = (cells.strides * (anchor / 2)).unsqueeze(-1)
    anchors = torch.cat([cells.points - half, cells.points + half], dim=-1)
    overlaps = pairwise_iou(anchors, targets.boxes)  # (b, cells, objects)
    middles = (targets.boxes[..., :2] + targets.boxes[..., 2:]) / 2
    distances = (cells.points.unsqueeze(-2) - middles.unsqueeze(-3)).square().sum(dim=-1)
    candidates, begin = [], 0
    for count in cells.counts:  # ll. 3-6: the nearest of each level
        near = distances[:, begin : begin + count].topk(min(NEAREST, count), dim=1, largest=False).indices
        candidates.append(near + begin)
        begin += count
    chosen = torch.cat(candidates, dim=1)
    theirs = overlaps.gather(1, chosen)
    threshold = theirs.mean(dim=1, keepdim=True) + theirs.std(dim=1, keepdim=True)  # ll. 7-10
    corners = targets.boxes.unsqueeze(-3)
    point = cells.points.unsqueeze(-2)
    inside = torch.minimum((point - corners[..., :2]).amin(dim=-1), (corners[..., 2:] - point).amin(dim=-1)) > INSIDE
    is_candidate = torch.zeros_like(inside).scatter(1, chosen, torch.ones_like(chosen, dtype=torch.bool))
    fits = is_candidate & (overlaps >= threshold) & inside & targets.valid.unsqueeze(1)  # ll. 11-14
    best = torch.where(fits, overlaps, torch.full_like(overlaps, -1.0)).argmax(dim=-1)  # of several the one it overlaps most
    boxes = targets.boxes.gather(1, best.unsqueeze(-1).expand(-1, -1, 4))
    return Assignment(fits.any(dim=-1), boxes, targets.labels.gather(1, best))
