"""Rabenseifner's all-reduce: halve the vector while reducing, double it while gathering."""

from __future__ import annotations

from typing import final

from toolkit.collectives import AllReduce, LinkCost, adding, post
from toolkit.collectives.all_reduce.recursive_doubling import fold_in, fold_out, fold_seconds
from toolkit.core.context import Asking, Context, Payload


@final
class Rabenseifner(AllReduce):
    """As few bytes as the ring in as few steps as a tree: ``2Lα + 2(P-1)/P nβ + (P-1)/P nγ`` with ``L = log2 P``.

    Source: Rabenseifner 2004. Ranks beyond a power of two are folded in first and out last. Each element is summed in one place.
    """

    def run(self, ctx: Context, x: Payload, phase: str) -> Asking:
        total, power = yield from fold_in(ctx, x.clone(), phase)
        if ctx.rank < power:
            yield from self._reduce_and_gather(ctx, total, power, phase)
        return (yield from fold_out(ctx, total, power, phase))

    @staticmethod
    def _reduce_and_gather(ctx: Context, total: Payload, power: int, phase: str) -> Asking:
        low, high = 0, total.numel()
        halves: list[tuple[int, slice, slice]] = []  # partner, what I keep, what the partner keeps
        step = power >> 1
        while step:
            middle = (low + high) // 2
            lower, upper = slice(low, middle), slice(middle, high)
            mine, theirs = (upper, lower) if ctx.rank & step else (lower, upper)
            partner = ctx.rank ^ step
            coming = ctx.recv(partner, total[mine])
            sent = post(ctx, partner, total[theirs], phase)
            received = yield coming
            yield sent
            total[mine] = total[mine] + received
            yield ctx.compute(adding(total[mine]), phase)
            halves.append((partner, mine, theirs))
            low, high = mine.start, mine.stop
            step >>= 1
        for partner, mine, theirs in reversed(halves):
            coming = ctx.recv(partner, total[theirs])
            sent = post(ctx, partner, total[mine], phase)
            total[theirs] = yield coming
            yield sent

    def seconds(self, nbytes: float, size: int, cost: LinkCost, servers: int = 0) -> float:
        power = 1 << (size.bit_length() - 1)
        share = (power - 1) / power * nbytes
        steps_s = 2 * (size.bit_length() - 1) * cost.alpha_s
        return steps_s + 2 * share * cost.beta_s_per_byte + share * cost.gamma_s_per_byte + fold_seconds(nbytes, size, cost)

    def total_bytes(self, nbytes: float, size: int, servers: int = 0) -> float:
        power = 1 << (size.bit_length() - 1)
        return 2 * (power - 1) * nbytes + 2 * (size - power) * nbytes

    def busiest_bytes(self, nbytes: float, size: int, servers: int = 0) -> float:
        power = 1 << (size.bit_length() - 1)
        return 2 * (power - 1) / power * nbytes + (nbytes if size > power else 0)
