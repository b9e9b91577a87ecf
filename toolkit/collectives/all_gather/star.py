"""A star: everybody sends its vector to one place, which sends all of them back."""

from __future__ import annotations

from typing import final

from toolkit.collectives import AllGather, LinkCost, arrived, post
from toolkit.collectives.hub import ByHub, ForHub, Gathered, ask
from toolkit.core.context import Asking, Context, Payload


@final
class StarAllGather(ByHub, AllGather):
    """By way of the fabric's hub (`ctx.hub`), or of rank 0 where there is none: ``2α + (P-1)nβ + (P-1)²nβ`` there.

    With `deadline_s`, see `toolkit.collectives.all_reduce.star`, the list holds the vectors of those that came in time, in the order of
    ranks: it is shorter then, and nothing stands for the others.
    """

    def run(self, ctx: Context, x: Payload, phase: str) -> Asking:
        if ctx.hub is not None:
            answer = yield from ask(ctx, ctx.hub, ForHub("list", x), phase)
            assert isinstance(answer, Gathered)
            return answer.vectors
        if ctx.rank:
            waiting = [ctx.recv(0, x) for _ in range(ctx.size - 1)]
            yield post(ctx, 0, x, phase)
            others = []
            for coming in waiting:
                vector = yield coming
                others.append(vector)
            return [*others[: ctx.rank], x.clone(), *others[ctx.rank :]]
        found = [x.clone()]
        for coming in [ctx.recv(worker, x) for worker in range(1, ctx.size)]:
            vector = yield coming
            found.append(vector)
        yield from arrived([
            post(ctx, worker, found[owner], phase) for worker in range(1, ctx.size) for owner in range(ctx.size) if owner != worker
        ])
        return found

    def seconds(self, nbytes: float, size: int, cost: LinkCost) -> float:
        if size == 1:
            return 0.0
        return 2 * cost.alpha_s + (size - 1) * nbytes * cost.beta_s_per_byte + (size - 1) ** 2 * nbytes * cost.beta_s_per_byte

    def total_bytes(self, nbytes: float, size: int) -> float:
        return (size - 1) * nbytes + (size - 1) ** 2 * nbytes
