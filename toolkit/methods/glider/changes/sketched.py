"""The change as a Count-Sketch, of which the shore reads the largest numbers."""

from __future__ import annotations

from typing import Self, final

import torch
from pydantic import Field, model_validator
from torch import Tensor

from toolkit.core.work import Work
from toolkit.learning.sketch import CountSketch
from toolkit.learning.sketch_sizes import check_table
from toolkit.methods.glider.changes import Change, as_bytes, as_floats

SEED_BYTES = 4


@final
class Sketched(Change):
    """A table of ``rows x cols`` float32, and the seed of its hashes; the shore takes the k largest estimates and nothing of the rest.

    Every message has hashes of its own: with the same ones again, what has collided once would collide for ever.

    Source: Charikar, Chen, Farach-Colton 2002, as FetchSGD (Rothchild et al. 2020) uses it, of changes of weights. A sketch is linear,
    which helps where several are added; with one sender it has to win by its size alone. It needs no indices on the air.
    """

    k: int = Field(128, ge=1, description="numbers that the shore takes from the table")
    rows: int = Field(3, ge=1, description="rows of the table; odd")
    cols: int = Field(512, ge=16, description="columns, a multiple of 16")

    @model_validator(mode="after")
    def _sane(self) -> Self:
        check_table(self.rows, self.cols)
        return self

    def encode(self, vector: Tensor, generator: torch.Generator) -> Tensor:
        seed = torch.randint(2**31 - 1, (1,), generator=generator, dtype=torch.int32)
        return as_bytes(seed, self._sketch(len(vector), int(seed)).encode(vector))

    def decode(self, code: Tensor, size: int) -> Tensor:
        seed = int(code[:SEED_BYTES].clone().view(torch.int32))
        sketch, table = self._sketch(size, seed), as_floats(code[SEED_BYTES:]).view(self.rows, self.cols)
        chosen = sketch.top_k(table, min(self.k, size))
        found = torch.zeros(size)
        found[chosen] = sketch.estimate(table, chosen)
        return found

    def nbytes(self, size: int) -> int:
        return SEED_BYTES + 4 * self.rows * self.cols

    def work(self, size: int) -> Work:
        sketch = self._sketch(size, 0)
        return Work(*sketch.encode_work(size)) + Work(*sketch.decode_work(size))

    def _sketch(self, size: int, seed: int) -> CountSketch:
        return CountSketch(self.rows, self.cols, seed=seed, size=size)
