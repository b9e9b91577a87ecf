"""Signs: one bit per coordinate, with or without the mean magnitude of each layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Generator, Tensor

from toolkit.core.work import FLOAT_BYTES
from toolkit.learning.compressors import CHECKS, Compressor, Payload, WorkTuple, part_sums, per_part, spread
from toolkit.learning.compressors.packing import pack, packed_bytes, unpack


def sign_bits(vector: Tensor, generator: Generator | None) -> Tensor:
    """Return where *vector* is positive (bool). A bit has no room for zero: with a generator a zero is either at random, else positive.

    Always taking the same side would push a coordinate without gradient (a dead unit) for ever in one direction.
    """
    positive = vector >= 0
    if generator is not None and int(torch.count_nonzero(vector)) < vector.numel():
        zero = (vector == 0).nonzero().view(-1)
        positive[zero] = torch.rand(zero.shape, generator=generator, device=vector.device) < 0.5
    return positive


@final
@dataclass(frozen=True)
class Sign(Compressor):
    """Signs packed eight to a byte; with `scaled` also the mean magnitude (float32) of each layer, of lengths *sizes* (none: of all).

    Sources: Bernstein et al. 2018 (signs alone); Karimireddy et al. 2019, Alg. 1 (scaled, with error feedback), Zheng et al. 2019
    (a scale per layer).
    """

    sizes: tuple[int, ...] = ()
    scaled: bool = False

    def _compressed(self, vector: Tensor, generator: Generator | None) -> Payload:
        packed = pack(sign_bits(vector, generator), 1)
        if not self.scaled:
            return (packed,)
        sizes = per_part(self.sizes, vector.numel())
        lengths = torch.tensor(sizes, device=vector.device)
        return part_sums(vector.abs(), sizes) / lengths, packed

    def decompress(self, payload: Payload, size: int) -> Tensor:
        signs = unpack(payload[-1], 1, size).to(torch.float32).mul_(2).sub_(1)
        return signs * spread(payload[0], per_part(self.sizes, size)) if self.scaled else signs

    def wire_bytes(self, size: int) -> int:
        return packed_bytes(size, 1) + (FLOAT_BYTES * len(per_part(self.sizes, size)) if self.scaled else 0)

    def work(self, size: int) -> WorkTuple:
        """Comparison and packing (3 per element), mean magnitude (2); reads the vector once for each, writes what is sent."""
        passes = 2 if self.scaled else 1
        kernels = CHECKS + (9.0 + len(self.sizes) if self.scaled else 3.0)
        return 3.0 * size + 2.0 * size * (passes - 1), 4.0 * size * passes, float(self.wire_bytes(size)), kernels

    def add_work(self, size: int) -> WorkTuple:
        """Unpacking, scaling, adding (4 per element); reads what was sent and the sum, writes the sum."""
        return 4.0 * size, self.wire_bytes(size) + 4.0 * size, 4.0 * size, 9.0 if self.scaled else 5.0
