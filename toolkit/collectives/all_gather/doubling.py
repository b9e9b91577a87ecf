"""Bruck's all-gather: in round k everybody passes on the 2^k vectors it has, for any number of ranks."""

from __future__ import annotations

from typing import final

from toolkit.collectives import AllGather, LinkCost, arrived, depth, post
from toolkit.core.context import Asking, Context, Payload


@final
class Doubling(AllGather):
    """``Lα + (P-1)nβ`` with ``L = ceil(log2 P)``. Source: Bruck et al. 1997.

    Departure: the vectors of one round are messages of their own, sent one after the other, hence every vector but the first of a
    round pays no latency only because all are under way together.
    """

    def run(self, ctx: Context, x: Payload, phase: str) -> Asking:
        size, rank = ctx.size, ctx.rank
        found = [x.clone()]  # mine, then those of the ranks after me
        for _ in range(depth(size)):
            have = len(found)
            wanted = min(have, size - have)
            waiting = [ctx.recv((rank + have) % size, x) for _ in range(wanted)]
            sent = [post(ctx, (rank - have) % size, found[i], phase) for i in range(wanted)]
            for coming in waiting:
                received = yield coming
                found.append(received)
            yield from arrived(sent)
        return [found[(owner - rank) % size] for owner in range(size)]

    def seconds(self, nbytes: float, size: int, cost: LinkCost) -> float:
        return depth(size) * cost.alpha_s + (size - 1) * nbytes * cost.beta_s_per_byte
