"""Parameter server: every worker sends its vector to servers, which add and send the sum back."""

from __future__ import annotations

from typing import final

from toolkit.collectives import AllReduce, LinkCost, adding, arrived, post
from toolkit.core.context import Asking, Context, Payload


@final
class ParameterServerAllReduce(AllReduce):
    """S servers of one shard each; the servers take part in the call and give a template of the vector.

    All workers send at once, so the servers' links carry P vectors each way: ``2(α + P n/S β) + P n/S γ``. A server adds in the order of
    ranks, once all have arrived.
    """

    def run(self, ctx: Context, x: Payload, phase: str) -> Asking:
        shards = ctx.servers
        if not shards:
            raise ValueError("a parameter server needs servers: set fabric.servers to at least 1")
        edges = [x.numel() * i // shards for i in range(shards + 1)]
        if ctx.is_server:
            return (yield from self._serve(ctx, x[edges[ctx.rank - ctx.size]: edges[ctx.rank - ctx.size + 1]], phase))
        total = x.clone()
        parts = [slice(edges[i], edges[i + 1]) for i in range(shards)]
        waiting = [ctx.recv(ctx.size + i, x[part]) for i, part in enumerate(parts)]
        yield from arrived([post(ctx, ctx.size + i, x[part], phase) for i, part in enumerate(parts)])
        for part, coming in zip(parts, waiting, strict=True):
            total[part] = yield coming
        return total

    @staticmethod
    def _serve(ctx: Context, like: Payload, phase: str) -> Asking:
        received = []
        for coming in [ctx.recv(worker, like) for worker in range(ctx.size)]:
            vector = yield coming
            received.append(vector)
        total = received[0].clone()
        for vector in received[1:]:
            total = total + vector
        yield ctx.compute(adding(total).times(ctx.size), phase)  # the first into an empty sum
        yield from arrived([post(ctx, worker, total, phase) for worker in range(ctx.size)])
        return total

    def seconds(self, nbytes: float, size: int, cost: LinkCost, servers: int = 1) -> float:
        shard = nbytes / servers
        return 2 * (cost.alpha_s + max(size * shard, nbytes) * cost.beta_s_per_byte) + size * shard * cost.gamma_s_per_byte

    def total_bytes(self, nbytes: float, size: int, servers: int = 1) -> float:
        return 2 * size * nbytes

    def busiest_bytes(self, nbytes: float, size: int, servers: int = 1) -> float:
        return max(size * nbytes / servers, nbytes)
