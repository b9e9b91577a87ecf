"""A star: everybody sends its vector to one place, which adds them and sends the sum back."""

from __future__ import annotations

from typing import final

from toolkit.collectives import AllReduce, LinkCost, adding, arrived, post
from toolkit.collectives.hub import ByHub, ForHub, ask
from toolkit.core.context import Asking, Context, Payload


@final
class Star(ByHub, AllReduce):
    """By way of the fabric's hub (`ctx.hub`, a sink of a sea), or of rank 0 where there is none: ``2(P-1)nβ + 2α + (P-1)nγ`` there.

    Vectors are added in the order of ranks, so both give the bits of `parameter_server` with one server.

    With `deadline_s`, which needs a hub, a round goes on without what is late: the hub waits so long from the first vector of a round,
    adds up those that came and scales the sum by P over their number, so that a mean stays one. It is inexact, and only for methods that
    say that they can live with it. Sums come back to everybody, in order, however late: nodes that were out of reach catch up, and at the
    same step all have the same sum. A vector that comes after its round is thrown away and counted (`late_updates`), as is one that never
    comes (`lost_updates`). Whoever was missing for `absent_after` rounds is not waited for until it is heard of again.
    """

    def run(self, ctx: Context, x: Payload, phase: str) -> Asking:
        if ctx.hub is not None:
            return (yield from ask(ctx, ctx.hub, ForHub("sum", x), phase))
        if ctx.rank:
            coming = ctx.recv(0, x)
            yield post(ctx, 0, x, phase)
            return (yield coming)
        total = x.clone()
        for waiting in [ctx.recv(worker, x) for worker in range(1, ctx.size)]:
            received = yield waiting
            total = total + received
        yield ctx.compute(adding(total).times(ctx.size - 1), phase)
        yield from arrived([post(ctx, worker, total, phase) for worker in range(1, ctx.size)])
        return total

    def seconds(self, nbytes: float, size: int, cost: LinkCost, servers: int = 0) -> float:
        if size == 1:
            return 0.0
        return 2 * (cost.alpha_s + (size - 1) * nbytes * cost.beta_s_per_byte) + (size - 1) * nbytes * cost.gamma_s_per_byte

    def total_bytes(self, nbytes: float, size: int, servers: int = 0) -> float:
        return 2 * (size - 1) * nbytes

    def busiest_bytes(self, nbytes: float, size: int, servers: int = 0) -> float:
        return (size - 1) * nbytes
