"""Binomial tree: reduce to rank 0, then broadcast from it."""

from __future__ import annotations

from typing import final

from toolkit.collectives import AllReduce, LinkCost, binomial_broadcast, binomial_reduce, depth
from toolkit.core.context import Asking, Context, Payload


@final
class Binomial(AllReduce):
    """The tree of gs-SGD's O(log P): up adding, down copying. ``2L(α + nβ) + L nγ`` with ``L = ceil(log2 P)``."""

    def run(self, ctx: Context, x: Payload, phase: str) -> Asking:
        total = yield from binomial_reduce(ctx, x, phase)
        return (yield from binomial_broadcast(ctx, total, 0, phase))

    def seconds(self, nbytes: float, size: int, cost: LinkCost, servers: int = 0) -> float:
        return depth(size) * (2 * (cost.alpha_s + nbytes * cost.beta_s_per_byte) + nbytes * cost.gamma_s_per_byte)

    def total_bytes(self, nbytes: float, size: int, servers: int = 0) -> float:
        return 2 * (size - 1) * nbytes

    def busiest_bytes(self, nbytes: float, size: int, servers: int = 0) -> float:
        return depth(size) * nbytes  # rank 0 on the way down
