"""Gossip between neighbours: the sum stays, the vectors approach the mean, and two rounds on a ring are worked out by hand."""

from __future__ import annotations

import pytest
import torch

from toolkit.collectives.gossip import gossip_mean
from toolkit.core.context import Asking, Context
from toolkit.core.local import run_local


def gossiped(size: int, rounds: int) -> list[torch.Tensor]:
    found: dict[int, torch.Tensor] = {}

    def act(ctx: Context) -> Asking:
        mine = torch.tensor([float(2**ctx.rank), 1.0], dtype=torch.float64)
        found[ctx.rank] = yield from gossip_mean(ctx, mine, rounds)
        assert mine.tolist() == [float(2**ctx.rank), 1.0]

    contexts = run_local(act, size, 1)
    neighbours = min(2, size - 1)
    assert {ctx.sent_bytes for ctx in contexts} == {16 * rounds * neighbours}
    return [found[rank] for rank in range(size)]


def test_a_ring_of_four_by_hand() -> None:
    """1, 2, 4, 8 with thirds: (1+2+8)/3, (1+2+4)/3, (2+4+8)/3, (1+4+8)/3."""
    once = torch.stack(gossiped(4, 1))[:, 0]
    torch.testing.assert_close(once, torch.tensor([11.0, 7.0, 14.0, 13.0], dtype=torch.float64) / 3.0)
    twice = torch.stack(gossiped(4, 2))[:, 0]
    torch.testing.assert_close(twice, torch.tensor([31.0, 32.0, 34.0, 38.0], dtype=torch.float64) / 9.0)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("rounds", [0, 1, 7])
def test_the_sum_stays_what_it_was(size: int, rounds: int) -> None:
    total = torch.stack(gossiped(size, rounds)).sum(0)
    torch.testing.assert_close(total, torch.tensor([2.0**size - 1.0, size], dtype=torch.float64))


def test_with_many_rounds_all_have_the_mean() -> None:
    for vector in gossiped(5, 60):
        torch.testing.assert_close(vector, torch.tensor([31.0 / 5.0, 1.0], dtype=torch.float64), rtol=1e-9, atol=1e-9)
