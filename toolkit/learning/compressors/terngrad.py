"""TernGrad: every coordinate as -1, 0 or 1 times the largest magnitude of its layer, rounded at random so that the mean is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Generator, Tensor

from toolkit.core.work import FLOAT_BYTES
from toolkit.learning.compressors import CHECKS, Compressor, Payload, WorkTuple, per_part, spread, too_large
from toolkit.learning.compressors.packing import pack, packed_bytes, unpack
from toolkit.learning.finite import NotFiniteError, is_finite

BITS = 2


@final
@dataclass(frozen=True)
class TernGradCompressor(Compressor):
    """Two bits per coordinate and one float32 scale per layer; *sizes* are the lengths of the layers, none for one scale in all.

    Values beyond *clip* standard deviations of their layer are clipped first (0: not at all); after that it is unbiased.

    Source: Wen et al. 2017, eq. (3) and section 3.3. Departures: each worker keeps its own scale (the paper shares the largest, which costs
    another round); deviations are taken about zero, lest a layer of nearly equal values be clipped to nothing.
    """

    sizes: tuple[int, ...] = ()
    clip: float = 2.5

    def _compressed(self, vector: Tensor, generator: Generator | None) -> Payload:
        sizes = per_part(self.sizes, vector.numel())
        parts = torch.split(vector, list(sizes))
        scales = torch.stack([part.abs().amax() for part in parts])
        if self.clip:
            deviations = torch.stack([part.square().mean().sqrt() for part in parts])
            if not is_finite(deviations):  # it would not clip, and nobody would know
                raise NotFiniteError(too_large("TernGrad", vector))
            scales = torch.minimum(scales, self.clip * deviations)
        share = vector.abs() / spread(scales, sizes)  # clipped where above 1; nan in a layer of zeros, which compares as false
        chosen = torch.rand(vector.shape, generator=generator, device=vector.device) < share
        codes = torch.where(chosen, torch.sign(vector), 0.0) + 1.0
        return scales, pack(codes, BITS)

    def decompress(self, payload: Payload, size: int) -> Tensor:
        scales, packed = payload
        return (unpack(packed, BITS, size) - 1).to(torch.float32) * spread(scales, per_part(self.sizes, size))

    def wire_bytes(self, size: int) -> int:
        return packed_bytes(size, BITS) + FLOAT_BYTES * len(per_part(self.sizes, size))

    def work(self, size: int) -> WorkTuple:
        """Maximum and variance (4 per element), draw, comparison, packing (6); reads the vector twice, writes what is sent."""
        return 10.0 * size, 8.0 * size, float(self.wire_bytes(size)), CHECKS + 30.0 + 5.0 * len(self.sizes)

    def add_work(self, size: int) -> WorkTuple:
        """Unpacking, scaling, adding (4 per element); reads what was sent and the sum, writes the sum."""
        return 4.0 * size, self.wire_bytes(size) + 4.0 * size, 4.0 * size, 14.0
