"""gs-SGD: a sketch summed by all-reduce, then the exact values of the candidates that it names."""

from __future__ import annotations

from typing import final

from toolkit.core.context import Asking, Context
from toolkit.core.work import FLOAT_BYTES
from toolkit.methods.rehearsal.exchanges import SketchExchange, floats


@final
class GsSgdExchange(SketchExchange):
    """``4 r c`` bytes, then ``4 p2 k``, both by the fabric's all-reduce; no indices."""

    def run(self, ctx: Context, parameters: int) -> Asking:
        yield from ctx.all_reduce(floats(self.cells(parameters)), "sketch")
        yield from ctx.all_reduce(floats(self.candidates(parameters)), "values")

    def wire_bytes(self, parameters: int) -> int:
        return FLOAT_BYTES * (self.cells(parameters) + self.candidates(parameters))
