"""The whole gradient, summed by the fabric's all-reduce."""

from __future__ import annotations

from typing import final

from toolkit.core.context import Asking, Context
from toolkit.core.work import FLOAT_BYTES
from toolkit.methods.rehearsal.exchanges import Exchange, floats


@final
class DenseExchange(Exchange):
    """``4 d`` bytes by all-reduce."""

    def run(self, ctx: Context, parameters: int) -> Asking:
        yield from ctx.all_reduce(floats(parameters), "gradient")

    def wire_bytes(self, parameters: int) -> int:
        return FLOAT_BYTES * parameters
