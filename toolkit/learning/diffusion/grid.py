"""Images side by side in one PNG file."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor


def grid(images: Tensor, columns: int = 8, gap: int = 1) -> Tensor:
    """Return *images* (n, channels, height, width) in [-1, 1] as one of 8 bits (height, width, channels), white between them."""
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    whole = torch.full((channels, rows * (height + gap) - gap, columns * (width + gap) - gap), 255, dtype=torch.uint8)
    for place, image in enumerate(((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)):
        top, left = place // columns * (height + gap), place % columns * (width + gap)
        whole[:, top : top + height, left : left + width] = image
    return whole.permute(1, 2, 0).contiguous()


def save_grid(images: Tensor, path: str | Path, columns: int = 8, scale: int = 4) -> Path:
    """Write *images* as a grid, every pixel *scale* times as large, and return the path."""
    from matplotlib.image import imsave

    picture = grid(images, columns).repeat_interleave(scale, 0).repeat_interleave(scale, 1)
    numbers = picture.expand(-1, -1, 3).numpy() if picture.shape[2] == 1 else picture.numpy()
    imsave(path, numbers)
    return Path(path)
