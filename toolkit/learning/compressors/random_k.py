"""Random-k: k coordinates that all workers draw alike, so that no indices travel and the values can be added on the way."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal, final

import torch
from torch import Generator, Tensor

from toolkit.core.work import FLOAT_BYTES
from toolkit.learning.compressors import CHECKS, Compressor, Payload, WorkTuple


@lru_cache(maxsize=4)
def drawn(seed: int, k: int, size: int) -> Tensor:
    """Return *k* different indices of *size* (int64), ascending; drawn on the CPU, so that all kinds of device get the same."""
    return torch.randperm(size, generator=torch.Generator().manual_seed(seed))[:k].sort().values


@final
@dataclass(frozen=True)
class RandomKCompressor(Compressor):
    """The values of *k* coordinates drawn from *seed*, which all workers share and change every step.

    With `unbiased` what is received is multiplied by d/k (then no memory is needed, and none may be used); without, use a memory.

    Source: Stich et al. 2018. Departure: drawn without replacement.
    """

    k: int
    seed: int
    unbiased: bool = False
    collective: ClassVar[Literal["all_gather", "all_reduce"]] = "all_reduce"

    def _indices(self, size: int, device: torch.device) -> Tensor:
        if not 1 <= self.k <= size:
            raise ValueError(f"k: {self.k} is not in 1 to {size}, the size of the vector")
        return drawn(self.seed, self.k, size).to(device)

    def _compressed(self, vector: Tensor, generator: Generator | None) -> Payload:
        return (vector[self._indices(vector.numel(), vector.device)],)

    def decompress(self, payload: Payload, size: int) -> Tensor:
        vector = torch.zeros(size, device=payload[0].device)
        self.add(payload, vector)
        return vector

    def add(self, payload: Payload, total: Tensor, alpha: float = 1.0) -> None:
        scale = total.numel() / self.k if self.unbiased else 1.0
        total.index_add_(0, self._indices(total.numel(), total.device), payload[0], alpha=alpha * scale)

    def wire_bytes(self, size: int) -> int:
        return FLOAT_BYTES * self.k

    def work(self, size: int) -> WorkTuple:
        """The draw shuffles d 8-byte indices (one read and write each); then k values are read and written."""
        return float(size), 8.0 * size + 12.0 * self.k, 8.0 * size + 4.0 * self.k, CHECKS + 3.0

    def add_work(self, size: int) -> WorkTuple:
        """A multiply-add per coordinate; reads index, value and sum, writes the sum (the draw is kept)."""
        return 2.0 * self.k, 16.0 * self.k, 4.0 * self.k, 1.0
