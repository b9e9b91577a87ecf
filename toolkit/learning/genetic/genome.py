"""Genomes: one bit per filter or hidden unit, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Genome:
    """Where each layer's bits lie."""

    sizes: tuple[int, ...]

    @property
    def bits(self) -> int:
        return sum(self.sizes)

    @property
    def nbytes(self) -> int:
        """Bytes of a packed mask: 72 for LeNet-5's 570 bits."""
        return -(-self.bits // 8)

    @cached_property
    def parts(self) -> tuple[slice, ...]:
        """The bits of each layer."""
        return tuple(slice(begin, end) for begin, end in pairwise(accumulate(self.sizes, initial=0)))

    def repair(self, masks: Mask, saliency: Floats) -> Mask:
        """Return *masks* (N, bits) with the most salient unit given back to every layer that has none."""
        masks = np.array(masks, bool)
        for part in self.parts:
            empty = ~masks[:, part].any(axis=1)
            if empty.any():
                masks[empty, part.start + int(np.argmax(saliency[part]))] = True
        return masks

    def mean_one(self, values: Floats) -> Floats:
        """Return positive *values* (bits,) scaled to a mean of 1 within every layer."""
        scaled = np.array(values, np.float64)
        for part in self.parts:
            scaled[part] /= scaled[part].mean()
        return scaled

    def pack(self, mask: Mask) -> bytes:
        """Return a mask as bytes; equal masks, and only those, give equal bytes."""
        return np.packbits(mask).tobytes()

    def unpack(self, packed: bytes) -> Mask:
        """Return the mask that `pack` made these bytes of."""
        return np.unpackbits(np.frombuffer(packed, np.uint8), count=self.bits).astype(bool)
