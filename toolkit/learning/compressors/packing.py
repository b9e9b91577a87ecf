"""Small whole numbers packed into bytes without gaps."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

GROUP = 8
"""Eight codes of w bits fill w bytes exactly, whatever w is."""


def packed_bytes(count: int, bits: int) -> int:
    """Return ceil(count * bits / 8)."""
    return (count * bits + 7) // 8


def pack(codes: Tensor, bits: int) -> Tensor:
    """Return *codes* (whole numbers of 0 to 2**bits - 1) as bytes (uint8): code i takes the bits from i * bits on, the lowest first.

    Single bits on the CPU are numpy's. Otherwise each eight codes are put into one 64-bit word, of which the lowest *bits* bytes are kept
    (little-endian machines).
    """
    if bits == 1 and codes.device.type == "cpu":
        return torch.from_numpy(np.packbits(codes.numpy(), bitorder="little"))
    words = pad(codes.to(torch.int64), (0, -codes.numel() % GROUP)).view(-1, GROUP)
    words = (words << _shifts(bits, codes.device)).sum(1)
    return words.view(torch.uint8).view(-1, 8)[:, :bits].reshape(-1)[: packed_bytes(codes.numel(), bits)].clone()


def unpack(packed: Tensor, bits: int, count: int) -> Tensor:
    """Return the first *count* codes of what `pack` made (int64; single bits as bool)."""
    if bits == 1 and packed.device.type == "cpu":
        return torch.from_numpy(np.unpackbits(packed.numpy(), count=count, bitorder="little").view(np.bool_))
    octets = pad(packed, (0, -packed.numel() % bits)).view(-1, bits)
    words = pad(octets, (0, 8 - bits)).view(torch.int64)
    codes = ((words >> _shifts(bits, packed.device)) & ((1 << bits) - 1)).view(-1)[:count]
    return codes.bool() if bits == 1 else codes


def _shifts(bits: int, device: torch.device) -> Tensor:
    if not 1 <= bits <= 8:
        raise ValueError(f"bits: {bits} is not in 1 to 8")
    return torch.arange(GROUP, device=device) * bits
