"""Random crops and flips of whole batches: one gather per batch, no loop over samples, every draw from the generator given.

Source: the usual augmentation of small images (pad by four pixels, crop, mirror with probability one half; He et al. 2016, section 4.2).
Draws depend on the number of images and on the settings alone, never on size or content of the images: two arms that show the same images
in different sizes draw the same offsets and mirror the same images.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def random_crop(
    images: Tensor, padding: int, generator: torch.Generator, *, even: bool = False, fill: Tensor | None = None
) -> Tensor:
    """Return *images* (batch, channels, height, width), any type, each padded by *padding* on all sides and cropped to its size at random.

    Args:
        padding: pixels; offsets are drawn per image and side, all equally likely, from 0 to twice this; *padding* itself means no shift.
        generator: of the draws, one pair of integers per image.
        even: draw even offsets only (0, 2, ..., twice *padding*); with an even *padding* a pixel keeps its place in its 2x2 block.
        fill: what padding pixels become, (channels, 1, 1) or (channels, height, width) in places of the result; zeros if None.

    Raises:
        ValueError: a negative *padding*, a *fill* of another shape, images without a batch dimension.
    """
    batch, channels, height, width = _shape(images)
    if padding < 0:
        raise ValueError(f"padding must be at least 0 pixels (got {padding})")
    if fill is not None and tuple(fill.shape) not in ((channels, 1, 1), (channels, height, width)):
        raise ValueError(f"fill must be ({channels}, 1, 1) or ({channels}, {height}, {width}), got {tuple(fill.shape)}")
    step = 2 if even else 1
    choices = 2 * padding // step + 1
    offsets = step * torch.randint(choices, (batch, 2), generator=generator, device=generator.device)
    shifts = (offsets - padding).to(images.device)
    rows = torch.arange(height, device=images.device) + shifts[:, :1]
    columns = torch.arange(width, device=images.device) + shifts[:, 1:]
    inside = _within(rows, height).unsqueeze(2) & _within(columns, width).unsqueeze(1)
    places = rows.clamp(0, height - 1).unsqueeze(2) * width + columns.clamp(0, width - 1).unsqueeze(1)
    index = places.flatten(1).unsqueeze(1).expand(-1, channels, -1)
    moved = images.flatten(2).gather(2, index).view(batch, channels, height, width)
    padded = images.new_zeros(()) if fill is None else fill.to(images)
    return torch.where(inside.unsqueeze(1), moved, padded)


def random_flip(
    images: Tensor, generator: torch.Generator, probability: float = 0.5, mirror: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Return *images* (batch, channels, height, width), each mirrored left to right with *probability*; one uniform draw per image.

    *mirror* says what mirroring is where the images are coefficients; without it columns are reversed.

    Raises:
        ValueError: a *probability* outside [0, 1], images without a batch dimension.
    """
    batch = _shape(images)[0]
    if not 0 <= probability <= 1:
        raise ValueError(f"probability must lie between 0 and 1 (got {probability})")
    mirrored = torch.rand(batch, generator=generator, device=generator.device) < probability
    return torch.where(mirrored.to(images.device).view(-1, 1, 1, 1), images.flip(3) if mirror is None else mirror(images), images)


def _shape(images: Tensor) -> tuple[int, int, int, int]:
    if images.dim() != 4:
        raise ValueError(f"images must be (batch, channels, height, width), got shape {tuple(images.shape)}")
    batch, channels, height, width = images.shape
    return batch, channels, height, width


def _within(places: Tensor, size: int) -> Tensor:
    return (places >= 0) & (places < size)
