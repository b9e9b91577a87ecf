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
from toolkit.models.detection.geometry import EPSILON, area

NEAREST = 9
"""Candidates per level and object."""
INSIDE = 0.01
"""Pixels that a point lies inside a box at least."""


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
    x, y = cells.points.unbind(-1)
    left, top, right, bottom = (side.unsqueeze(-1) for side in targets.boxes.unbind(-1))  # (b, objects, 1); with cells: (b, objects, cells)
    overlaps = _overlaps(x, y, cells.strides * (anchor / 2), targets.boxes)
    distances = (x - (left + right) / 2).square() + (y - (top + bottom) / 2).square()
    candidates, begin = [], 0
    for count in cells.counts:  # ll. 3-6: the nearest of each level
        near = distances[..., begin : begin + count].topk(min(NEAREST, count), dim=-1, largest=False).indices
        candidates.append(near + begin)
        begin += count
    chosen = torch.cat(candidates, dim=-1)
    theirs = overlaps.gather(-1, chosen)
    threshold = theirs.mean(dim=-1, keepdim=True) + theirs.std(dim=-1, keepdim=True)  # ll. 7-10
    across, down = x[chosen], y[chosen]
    inside = torch.minimum(torch.minimum(across - left, right - across), torch.minimum(down - top, bottom - down)) > INSIDE
    fits = (theirs >= threshold) & inside & targets.valid.unsqueeze(-1)  # ll. 11-14
    kept = torch.full_like(overlaps, -1.0).scatter(-1, chosen, theirs.masked_fill(~fits, -1.0))
    most, best = kept.max(dim=1)  # of several the one it overlaps most
    boxes = targets.boxes.gather(1, best.unsqueeze(-1).expand(-1, -1, 4))
    return Assignment(most >= 0, boxes, targets.labels.gather(1, best))


def _overlaps(x: Tensor, y: Tensor, half: Tensor, boxes: Tensor) -> Tensor:
    """Return (b, objects, cells) the IoU of *boxes* with squares round the points; by coordinates, which is thrice as fast."""
    left, top, right, bottom = (side.unsqueeze(-1) for side in boxes.unbind(-1))
    wide = torch.minimum(x + half, right) - torch.maximum(x - half, left)
    high = torch.minimum(y + half, bottom) - torch.maximum(y - half, top)
    common = wide.clamp(min=0) * high.clamp(min=0)
    union = (2 * half).square() + area(boxes).unsqueeze(-1) - common
    return common / union.clamp(min=EPSILON)
