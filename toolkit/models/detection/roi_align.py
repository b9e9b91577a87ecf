"""RoIAlign: what a map holds inside boxes, in a fixed number of bins, without a loop over boxes.

Source: He et al. 2017 (Mask R-CNN), with the half-pixel shift of later implementations. Bilinear sampling and the mean over the samples of
a bin both work on rows and columns apart, so a box is two small matrices of weights, one for each axis, and all is matrix products.
"""

from __future__ import annotations

import torch
from torch import Tensor


def axis_weights(begin: Tensor, end: Tensor, length: int, bins: int, samples: int) -> Tensor:
    """Return weights (..., bins, length) of an axis' pixels in each bin of the span from *begin* to *end* (...), in pixels of the map.

    Each bin is the mean of *samples* evenly spaced points. A point outside by more than a pixel counts 0, nearer ones as the border.
    """
    fractions = (torch.arange(bins * samples, device=begin.device, dtype=begin.dtype) + 0.5) / (bins * samples)
    points = begin.unsqueeze(-1) + (end - begin).unsqueeze(-1) * fractions - 0.5  # pixel p has its middle at p + 0.5
    inside = (points >= -1) & (points <= length)
    points = points.clamp(0, length - 1)
    pixels = torch.arange(length, device=begin.device, dtype=begin.dtype)
    weights = (1 - (points.unsqueeze(-1) - pixels).abs()).clamp(min=0) * inside.unsqueeze(-1)
    return weights.reshape(*weights.shape[:-2], bins, samples, length).mean(dim=-2)


def roi_align(maps: Tensor, boxes: Tensor, stride: float, bins: int = 3, samples: int = 2) -> Tensor:
    """Return (b, n, channels, bins, bins) of *maps* (b, channels, height, width) inside *boxes* (b, n, 4) in pixels of the image.

    *stride* is the image's pixels per pixel of the map.
    """
    scaled = boxes / stride
    rows = axis_weights(scaled[..., 1], scaled[..., 3], maps.shape[2], bins, samples)
    columns = axis_weights(scaled[..., 0], scaled[..., 2], maps.shape[3], bins, samples)
    count, channels, height, width = maps.shape
    objects = boxes.shape[1]
    across = rows.reshape(count, objects * bins, height) @ maps.permute(0, 2, 1, 3).reshape(count, height, channels * width)
    across = across.reshape(count, objects, bins * channels, width) @ columns.transpose(-1, -2)
    return across.reshape(count, objects, bins, channels, bins).transpose(2, 3)


def level_of(boxes: Tensor, levels: int, finest: float) -> Tensor:
    """Return at which level (...) of a pyramid *boxes* (..., 4) are looked at: 0 below twice *finest* pixels, one more for each doubling.

    The size of a box is the root of its area (Lin et al. 2017, eq. 1, counted from the finest level).
    """
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)
    size = (sides[..., 0] * sides[..., 1]).sqrt()
    return torch.floor(torch.log2(size / finest + 1e-6)).clamp(0, levels - 1).to(torch.int64)
