"""Top-k: the k largest coordinates with their indices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Generator, Tensor

from toolkit.core.work import FLOAT_BYTES
from toolkit.learning.compressors import CHECKS, INDEX_BYTES, Compressor, Payload, WorkTuple
from toolkit.learning.top_k import top_k


@final
@dataclass(frozen=True)
class TopKCompressor(Compressor):
    """The *k* coordinates of largest magnitude: k float32 values and k int32 indices. Biased: use it with a memory.

    Source: Aji and Heafield 2017; Stich et al. 2018.
    """

    draws: ClassVar[bool] = False

    k: int

    def _compressed(self, vector: Tensor, generator: Generator | None) -> Payload:
        if not 1 <= self.k <= vector.numel():
            raise ValueError(f"k: {self.k} is not in 1 to {vector.numel()}, the size of the vector")
        if vector.numel() >= 2**31:
            raise ValueError(f"vector: {vector.numel()} elements are beyond what int32 indices reach (2147483647)")
        chosen = top_k(vector, self.k)
        return vector[chosen], chosen.to(torch.int32)

    def decompress(self, payload: Payload, size: int) -> Tensor:
        vector = torch.zeros(size, device=payload[0].device)
        vector[payload[1].long()] = payload[0]
        return vector

    def add(self, payload: Payload, total: Tensor, alpha: float = 1.0) -> None:
        total.index_add_(0, payload[1].long(), payload[0], alpha=alpha)

    def wire_bytes(self, size: int) -> int:
        return (FLOAT_BYTES + INDEX_BYTES) * self.k

    def work(self, size: int) -> WorkTuple:
        """Two passes over the vector (histogram, choice) with a comparison each, then k values and indices."""
        return 2.0 * size, 8.0 * size + 4.0 * self.k, 8.0 * self.k, CHECKS + 4.0

    def add_work(self, size: int) -> WorkTuple:
        """A multiply-add per coordinate; reads index, value and sum, writes the sum."""
        return 2.0 * self.k, 12.0 * self.k, 4.0 * self.k, 4.0
