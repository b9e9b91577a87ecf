"""The change in a few bits a number, by QSGD's levels of the largest number of each bucket."""

from __future__ import annotations

from typing import final

import torch
from pydantic import Field
from torch import Tensor

from toolkit.core.work import FLOAT_BYTES, Work
from toolkit.learning.compressors.qsgd import QsgdCompressor
from toolkit.methods.glider.changes import Change, as_bytes, as_floats


@final
class Quantised(Change):
    """``d ceil(log2(2s+1))/8 + 4 d/b`` bytes; rounding is random, and right on the mean.

    Source: QSGD (Alistarh et al. 2017, section 3.1, with the maximum as norm), of changes of weights instead of gradients.
    """

    levels: int = Field(7, ge=1, le=127, description="levels per sign; 7 makes 4 bits a number, 1 makes 2, 127 makes 8")
    bucket: int = Field(128, ge=1, description="consecutive numbers that share a norm")

    def encode(self, vector: Tensor, generator: torch.Generator) -> Tensor:
        return as_bytes(*self._code.compress(vector, generator))

    def decode(self, code: Tensor, size: int) -> Tensor:
        split = FLOAT_BYTES * self._code.buckets(size)
        return self._code.decompress((as_floats(code[:split]), code[split:]), size)

    def nbytes(self, size: int) -> int:
        return self._code.wire_bytes(size)

    def work(self, size: int) -> Work:
        return Work(*self._code.work(size)) + Work(*self._code.add_work(size))

    @property
    def _code(self) -> QsgdCompressor:
        return QsgdCompressor(self.levels, self.bucket, "max")
