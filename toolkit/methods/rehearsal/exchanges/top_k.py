"""Each worker's k largest coordinates, told to all others by the fabric's all-gather."""

from __future__ import annotations

from typing import final

from toolkit.core.context import Asking, Context
from toolkit.methods.rehearsal.exchanges import SparseExchange, pairs


@final
class TopKExchange(SparseExchange):
    """``8 k`` bytes by all-gather: k values and k indices."""

    def run(self, ctx: Context, parameters: int) -> Asking:
        yield from ctx.all_gather(pairs(self.chosen(parameters)), "values")

    def wire_bytes(self, parameters: int) -> int:
        return pairs(self.chosen(parameters)).nbytes
