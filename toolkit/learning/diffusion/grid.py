"""Images side by side in one PNG file."""

from __future__ import annotations

import struct
import zlib
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
    picture = grid(images, columns).repeat_interleave(scale, 0).repeat_interleave(scale, 1)
    height, width, channels = picture.shape
    lines = b"".join(b"\0" + bytes(row.flatten().tolist()) for row in picture)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    path = Path(path)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b""))
    return path
