"""Ring all-reduce: P - 1 steps of adding and P - 1 of copying, each of a P-th of the vector."""

from __future__ import annotations

from typing import final

from toolkit.collectives import AllReduce, LinkCost, adding, post
from toolkit.core.context import Asking, Context, Payload


@final
class RingAllReduce(AllReduce):
    """Each rank sends to the next and receives from the one before; bandwidth-optimal, latency grows with P.

    Source: Patarasuk and Yuan 2009. ``2(P-1)α + 2(P-1)/P nβ + (P-1)/P nγ``.
    """

    def run(self, ctx: Context, x: Payload, phase: str) -> Asking:
        size, rank = ctx.size, ctx.rank
        total = x.clone()
        edges = [total.numel() * i // size for i in range(size + 1)]
        chunks = [slice(edges[i], edges[i + 1]) for i in range(size)]
        after, before = (rank + 1) % size, (rank - 1) % size
        for step in range(size - 1):  # every chunk walks round the ring and is added to
            mine = chunks[(rank - step - 1) % size]
            part = total[mine]
            coming = ctx.recv(before, part)
            sent = post(ctx, after, total[chunks[(rank - step) % size]], phase)
            received = yield coming
            total[mine] = received + part
            yield ctx.compute(adding(part), phase)
        for step in range(size - 1):  # the finished chunks walk round once more
            mine = chunks[(rank - step) % size]
            coming = ctx.recv(before, total[mine])
            sent = post(ctx, after, total[chunks[(rank + 1 - step) % size]], phase)
            total[mine] = yield coming
        if size > 1:
            yield sent  # those before it had arrived before it could be sent
        return total

    def seconds(self, nbytes: float, size: int, cost: LinkCost, servers: int = 0) -> float:
        share = (size - 1) / size * nbytes
        return 2 * (size - 1) * cost.alpha_s + 2 * share * cost.beta_s_per_byte + share * cost.gamma_s_per_byte

    def total_bytes(self, nbytes: float, size: int, servers: int = 0) -> float:
        return 2 * (size - 1) * nbytes

    def busiest_bytes(self, nbytes: float, size: int, servers: int = 0) -> float:
        return 2 * (size - 1) / size * nbytes
