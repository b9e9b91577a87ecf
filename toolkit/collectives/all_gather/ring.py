"""Ring all-gather: what one receives is passed on, P - 1 times."""

from __future__ import annotations

from typing import final

from toolkit.collectives import AllGather, LinkCost, post
from toolkit.core.context import Asking, Context, Payload


@final
class RingAllGather(AllGather):
    """``(P-1)(α + nβ)``."""

    def run(self, ctx: Context, x: Payload, phase: str) -> Asking:
        size, rank = ctx.size, ctx.rank
        found = [x] * size
        found[rank] = x.clone()
        for step in range(size - 1):
            coming = ctx.recv((rank - 1) % size, x)
            sent = post(ctx, (rank + 1) % size, found[(rank - step) % size], phase)
            found[(rank - step - 1) % size] = yield coming
            yield sent
        return found

    def seconds(self, nbytes: float, size: int, cost: LinkCost) -> float:
        return (size - 1) * (cost.alpha_s + nbytes * cost.beta_s_per_byte)
