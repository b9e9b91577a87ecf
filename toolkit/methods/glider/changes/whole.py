"""The change as it is: four bytes a number."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from toolkit.core.work import FLOAT_BYTES, Work
from toolkit.methods.glider.changes import Change, as_bytes, as_floats


@final
class Whole(Change):
    """Every number in float32."""

    def encode(self, vector: Tensor, generator: torch.Generator) -> Tensor:
        return as_bytes(vector)

    def decode(self, code: Tensor, size: int) -> Tensor:
        return as_floats(code)

    def nbytes(self, size: int) -> int:
        return FLOAT_BYTES * size

    def work(self, size: int) -> Work:
        return Work(2.0 * size, 16.0 * size, 8.0 * size, 4.0)
