"""1-bit: the sign of each coordinate, and per layer what a positive and what a negative one stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Generator, Tensor

from toolkit.core.work import FLOAT_BYTES
from toolkit.learning.compressors import CHECKS, Compressor, Payload, WorkTuple, part_sums, per_part, spread
from toolkit.learning.compressors.packing import pack, packed_bytes, unpack
from toolkit.learning.compressors.sign import sign_bits


@final
@dataclass(frozen=True)
class OneBitCompressor(Compressor):
    """Signs packed eight to a byte and two float32 per layer: the mean of its positive coordinates and that of its negative ones.

    These two values keep the error of a layer smallest among all that its signs allow. Biased: use it with a memory.

    Source: Seide et al. 2014, section 3. Departure: two values per layer (of lengths *sizes*; none: in all) instead of per column.
    """

    sizes: tuple[int, ...] = ()

    def _compressed(self, vector: Tensor, generator: Generator | None) -> Payload:
        sizes = per_part(self.sizes, vector.numel())
        lengths = torch.tensor(sizes, device=vector.device)
        positive = sign_bits(vector, generator)
        above = part_sums(positive, sizes)
        up = part_sums(torch.where(positive, vector, 0.0), sizes) / above.clamp(min=1)
        down = part_sums(torch.where(positive, 0.0, vector), sizes) / (lengths - above).clamp(min=1)
        return up, down, pack(positive, 1)

    def decompress(self, payload: Payload, size: int) -> Tensor:
        sizes = per_part(self.sizes, size)
        up, down, packed = payload
        return torch.where(unpack(packed, 1, size), spread(up, sizes), spread(down, sizes))

    def wire_bytes(self, size: int) -> int:
        return packed_bytes(size, 1) + 2 * FLOAT_BYTES * len(per_part(self.sizes, size))

    def work(self, size: int) -> WorkTuple:
        """Comparison and packing (3 per element), two conditional sums (4); reads the vector twice, writes what is sent."""
        return 7.0 * size, 8.0 * size, float(self.wire_bytes(size)), CHECKS + 18.0 + 3.0 * len(self.sizes)

    def add_work(self, size: int) -> WorkTuple:
        """Unpacking, choosing, adding (4 per element); reads what was sent and the sum, writes the sum."""
        return 4.0 * size, self.wire_bytes(size) + 4.0 * size, 4.0 * size, 10.0
