"""Recursive doubling: log2 P exchanges of the whole vector, each with a partner twice as far away."""

from __future__ import annotations

from typing import final

from toolkit.collectives import AllReduce, LinkCost, adding, depth, post
from toolkit.core.context import Asking, Context, Payload


def fold_in(ctx: Context, total: Payload, phase: str) -> Asking:
    """Let the ranks beyond the largest power of two hand their vector to a partner; return (sum, power of two)."""
    power = 1 << (ctx.size.bit_length() - 1)
    if ctx.rank >= power:
        yield post(ctx, ctx.rank - power, total, phase)
    elif ctx.rank + power < ctx.size:
        received = yield ctx.recv(ctx.rank + power, total)
        total = total + received
        yield ctx.compute(adding(total), phase)
    return total, power


def fold_out(ctx: Context, total: Payload, power: int, phase: str) -> Asking:
    """Hand the result back to the ranks beyond the power of two."""
    if ctx.rank >= power:
        total = yield ctx.recv(ctx.rank - power, total)
    elif ctx.rank + power < ctx.size:
        yield post(ctx, ctx.rank + power, total, phase)
    return total


def fold_seconds(nbytes: float, size: int, cost: LinkCost) -> float:
    """Duration of both folds; nothing for a power of two."""
    if size & (size - 1) == 0:
        return 0.0
    return 2 * (cost.alpha_s + nbytes * cost.beta_s_per_byte) + nbytes * cost.gamma_s_per_byte


@final
class RecursiveDoubling(AllReduce):
    """Few steps, many bytes: for short vectors.

    ``L(α + nβ + nγ)`` with ``L = log2 P``. Ranks beyond a power of two are folded in first and out last. All ranks have the same bits
    because an addition of two numbers does not depend on their order.
    """

    def run(self, ctx: Context, x: Payload, phase: str) -> Asking:
        total, power = yield from fold_in(ctx, x.clone(), phase)
        step = 1
        while step < power and ctx.rank < power:
            partner = ctx.rank ^ step
            coming = ctx.recv(partner, total)
            sent = post(ctx, partner, total, phase)
            received = yield coming
            yield sent
            total = total + received
            yield ctx.compute(adding(total), phase)
            step <<= 1
        return (yield from fold_out(ctx, total, power, phase))

    def seconds(self, nbytes: float, size: int, cost: LinkCost, servers: int = 0) -> float:
        step_s = cost.alpha_s + nbytes * (cost.beta_s_per_byte + cost.gamma_s_per_byte)
        return (size.bit_length() - 1) * step_s + fold_seconds(nbytes, size, cost)

    def total_bytes(self, nbytes: float, size: int, servers: int = 0) -> float:
        power = 1 << (size.bit_length() - 1)
        return power * (size.bit_length() - 1) * nbytes + 2 * (size - power) * nbytes

    def busiest_bytes(self, nbytes: float, size: int, servers: int = 0) -> float:
        return depth(size) * nbytes  # of those that fold, the partner sends once more
