"""gTop-k: k pairs up a binomial tree, each merge keeping k, and down again to all."""

from __future__ import annotations

from typing import final

from toolkit.core.context import Asking, Context
from toolkit.methods.rehearsal.exchanges import SparseExchange, pairs


@final
class GTopKExchange(SparseExchange):
    """``2L(α + 8kβ)`` with ``L = ceil(log2 P)``. A rank without a partner waits for the next level, so any P will do.

    Source: Shi et al. 2019 (arXiv 1901.04359).
    """

    def run(self, ctx: Context, parameters: int) -> Asking:
        message = pairs(self.chosen(parameters))
        level = 1
        while level < ctx.size:
            if ctx.rank & level:
                yield ctx.send(ctx.rank - level, message.nbytes, "gradient", message)
                break
            if ctx.rank + level < ctx.size:
                yield ctx.recv(ctx.rank + level, message)
            level <<= 1
        yield from ctx.broadcast(message, 0, "gradient")

    def wire_bytes(self, parameters: int) -> int:
        return pairs(self.chosen(parameters)).nbytes
