"""Gossip: a mean that spreads from neighbour to neighbour, round by round, and is never quite the mean of all."""

from __future__ import annotations

from toolkit.collectives import adding, arrived, post
from toolkit.core.context import Asking, Context, Payload


def gossip_mean(ctx: Context, x: Payload, rounds: int, phase: str = "gossip") -> Asking:
    """Return what *x* has become after *rounds* of averaging with `ctx.neighbours` alone; another vector on every rank.

    Every worker calls it at the same place of its program. In a round each sends its vector to all its neighbours and takes
    ``x + sum of w (x_j - x)`` with Metropolis weights ``w = 1 / (1 + the larger number of neighbours of the two)``, which leave the sum
    over all workers as it is; where everybody is joined to everybody over some neighbours, all vectors go to the mean of all.

    It is no all-reduce, which gives the sum of all in the same bits to each: a method has to ask for it by name.

    Source: Xiao and Boyd 2004 (fast linear iterations for distributed averaging), Metropolis weights.
    """
    mine = x.clone()
    others = ctx.neighbours
    own = len(others)
    for _ in range(rounds):
        coming = [(rank, ctx.recv(rank, mine)) for rank in sorted(others)]
        sent = [post(ctx, rank, mine, phase) for rank in sorted(others)]
        weights = {rank: 1.0 / (1.0 + max(own, others[rank])) for rank in sorted(others)}
        total = mine * (1.0 - sum(weights.values()))
        for rank, waiting in coming:
            received = yield waiting
            total = total + received * weights[rank]
            yield ctx.compute(adding(total), phase)
        mine = total
        yield from arrived(sent)
    return mine
