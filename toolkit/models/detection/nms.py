"""Non-maximum suppression without a loop over boxes.

Greedy suppression keeps a box unless a better kept one overlaps it. So what is kept is the one solution of
``keep[i] = no j < i with keep[j] and overlap[j, i]``, boxes ranked by score. Beginning with all kept, each pass over the matrix settles at
least one more link of every chain of suppressions; the passes end when nothing changes, after as many as the longest chain has links.
"""

from __future__ import annotations

import torch
from torch import Tensor

from toolkit.models.detection.geometry import pairwise_iou

COUNTED_PASSES = 4
"""Passes that are counted where tensors have no values, and so no chain."""


def kept_among_ranked(overlaps: Tensor) -> Tensor:
    """Return which boxes (..., n) are kept, where ``overlaps[..., j, i]`` (bool) says that j would suppress i; ranked best first."""
    suppresses = overlaps.triu(diagonal=1)
    keep = torch.ones(overlaps.shape[:-1], dtype=torch.bool, device=overlaps.device)
    for done in range(1, overlaps.shape[-1] + 2):
        following = ~(suppresses & keep.unsqueeze(-1)).any(dim=-2)
        if keep.is_meta:
            if done == COUNTED_PASSES:
                break
        elif torch.equal(following, keep):
            break
        keep = following
    return keep


def nms(boxes: Tensor, scores: Tensor, threshold: float, classes: Tensor | None = None) -> Tensor:
    """Return the places of the boxes that are kept, best first.

    Args:
        boxes: (n, 4).
        scores: (n,); of equal ones the earlier box wins.
        threshold: boxes whose IoU is above it are one object.
        classes: (n,) whole numbers; boxes of different classes never suppress each other.
    """
    order = torch.argsort(scores, descending=True, stable=True)
    ranked = boxes[order]
    overlaps = pairwise_iou(ranked, ranked) > threshold
    if classes is not None:
        overlaps &= classes[order].unsqueeze(-1) == classes[order].unsqueeze(-2)
    return order[kept_among_ranked(overlaps)]


def suppressed_in_batch(boxes: Tensor, scores: Tensor, classes: Tensor, threshold: float) -> Tensor:
    """Return which boxes (b, n) stand, class by class in each image, of boxes (b, n, 4), scores and classes (b, n)."""
    order = torch.argsort(scores, dim=1, descending=True, stable=True)
    ranked = boxes.gather(1, order.unsqueeze(-1).expand(-1, -1, 4))
    kinds = classes.gather(1, order)
    overlaps = (pairwise_iou(ranked, ranked) > threshold) & (kinds.unsqueeze(-1) == kinds.unsqueeze(-2))
    return torch.zeros_like(scores, dtype=torch.bool).scatter(1, order, kept_among_ranked(overlaps))
