"""Waiting for whoever answers first: in the simulator by time, in one process by turns; what was not first is not lost."""

from __future__ import annotations

from typing import Any

import torch

from tests.cluster.helpers import cluster, simulate
from toolkit.core.context import Asking, Context
from toolkit.core.local import run_local

LIKE = torch.zeros(2)


def collect(order: list[tuple[int, float]], delays_s: dict[int, float]) -> Any:
    """Rank 0 takes two messages of everybody, as they come."""

    def act(ctx: Context) -> Asking:
        if ctx.rank:
            for turn in range(2):
                yield ctx.sleep(delays_s[ctx.rank])
                ctx.send(0, LIKE.nbytes, "answer", torch.tensor([ctx.rank, turn], dtype=torch.float32))
            return
        waiting = {rank: ctx.recv(rank, LIKE) for rank in range(1, ctx.size)}
        heard = dict.fromkeys(waiting, 0)
        while waiting:
            ranks = list(waiting)
            place, payload = yield ctx.wait_any([waiting[rank] for rank in ranks])
            rank = ranks[place]
            assert payload.tolist() == [rank, heard[rank]]
            order.append((rank, ctx.now))
            heard[rank] += 1
            if heard[rank] < 2:
                waiting[rank] = ctx.recv(rank, LIKE)
            else:
                del waiting[rank]

    return act


def test_the_simulator_takes_them_as_they_arrive() -> None:
    order: list[tuple[int, float]] = []
    simulate(cluster(4), collect(order, {1: 1.0, 2: 0.4, 3: 1.5}))
    assert [rank for rank, _ in order] == [2, 2, 1, 3, 1, 3]
    assert [round(at_s, 2) for _, at_s in order] == [0.4, 0.8, 1.0, 1.5, 2.0, 3.0]


def test_of_several_that_are_there_the_earliest_in_the_list_is_taken() -> None:
    def act(ctx: Context) -> Asking:
        if ctx.rank:
            ctx.send(0, LIKE.nbytes, "answer", torch.full((2,), float(ctx.rank)))
            return
        yield ctx.sleep(1.0)
        answers = [ctx.recv(rank, LIKE) for rank in (2, 1)]
        assert (yield ctx.wait_any(answers))[0] == 0
        assert (yield answers[1]).tolist() == [1.0, 1.0]  # still good by itself

    simulate(cluster(3), act)


def test_in_one_process_all_are_heard() -> None:
    order: list[tuple[int, float]] = []
    run_local(collect(order, dict.fromkeys((1, 2, 3), 0.0)), 4, seed=0)
    assert sorted(rank for rank, _ in order) == [1, 1, 2, 2, 3, 3]
