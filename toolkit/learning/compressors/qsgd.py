"""QSGD: every coordinate as one of 2s + 1 levels of its bucket's norm, rounded at random so that the mean is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

from toolkit.core.work import FLOAT_BYTES
from toolkit.learning.compressors import CHECKS, Compressor, Payload, WorkTuple
from toolkit.learning.compressors.packing import pack, packed_bytes, unpack


@final
@dataclass(frozen=True)
class QsgdCompressor(Compressor):
    """Buckets of *bucket* consecutive coordinates, each with a float32 norm, and levels of ceil(log2(2s+1)) bits. Unbiased.

    ``q(v_i) = |v| sgn(v_i) l/s`` with l = floor or ceil of ``s |v_i| / |v|``, the upper with the probability of the fraction.

    Source: Alistarh et al. 2017, section 3.1 (2-norm) and 5 (buckets; there the norm is the largest magnitude: ``norm="max"``).
    Departure: levels have a fixed width instead of Elias coding, so the bytes do not depend on the data.
    """

    levels: int = 7
    bucket: int = 512
    norm: Literal["l2", "max"] = "l2"

    def __post_init__(self) -> None:
        if not 1 <= self.levels <= 127:
            raise ValueError(f"levels: {self.levels} is not in 1 to 127")
        if self.bucket < 1:
            raise ValueError(f"bucket: {self.bucket} is below 1")

    @property
    def bits(self) -> int:
        """Bits of one coordinate."""
        return (2 * self.levels).bit_length()

    def buckets(self, size: int) -> int:
        return -(-size // self.bucket)

    def _compressed(self, vector: Tensor, generator: Generator | None) -> Payload:
        rows = pad(vector, (0, -vector.numel() % self.bucket)).view(-1, self.bucket)
        sizes = rows.abs()
        norms = torch.linalg.vector_norm(rows, dim=1) if self.norm == "l2" else sizes.amax(1)
        scale = self.levels / torch.where(norms > 0, norms, torch.inf)
        place = sizes * scale[:, None]
        chance = torch.rand(rows.shape, generator=generator, device=rows.device)
        level = (place + chance).floor().clamp_(max=self.levels)  # floor(x + U) is ceil with probability of the fraction
        codes = (torch.copysign(level, rows) + self.levels).view(-1)[: vector.numel()]
        return norms, pack(codes, self.bits)

    def decompress(self, payload: Payload, size: int) -> Tensor:
        norms, packed = payload
        level = (unpack(packed, self.bits, size) - self.levels).to(torch.float32)
        rows = pad(level, (0, -size % self.bucket)).view(-1, self.bucket)
        return (rows * (norms / self.levels)[:, None]).view(-1)[:size]

    def wire_bytes(self, size: int) -> int:
        return packed_bytes(size, self.bits) + FLOAT_BYTES * self.buckets(size)

    def work(self, size: int) -> WorkTuple:
        """Norm (2 per element), level, draw, rounding, packing (6); reads the vector twice, writes what is sent."""
        return 8.0 * size, 8.0 * size, float(self.wire_bytes(size)), CHECKS + 24.0

    def add_work(self, size: int) -> WorkTuple:
        """Unpacking, scaling, adding (4 per element); reads what was sent and the sum, writes the sum."""
        return 4.0 * size, self.wire_bytes(size) + 4.0 * size, 4.0 * size, 14.0
