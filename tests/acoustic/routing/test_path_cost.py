"""What DBCAR knows of the costs of ways before a run begins: expected transmissions, or energy, over what was heard in the history."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from toolkit.acoustic.routing import LinkHistory
from toolkit.acoustic.routing.next_hop import SMOOTHING, PathCost


def heard(*first_link: float) -> LinkHistory:
    """Nodes 0, 1 and 2 in a line, the last one a sink: 1 and 2 always hear each other, 0 and 1 at some times and not at others."""
    shares = np.zeros((len(first_link), 3, 3))
    shares[:, 0, 1] = shares[:, 1, 0] = first_link
    shares[:, 1, 2] = shares[:, 2, 1] = 1.0
    return LinkHistory(np.arange(len(first_link), dtype=float), np.zeros_like(shares), shares, np.zeros((len(first_link), 3)))


def learnt(history: LinkHistory, *, energy: bool) -> list[float]:
    node = SimpleNamespace(modem=SimpleNamespace(tx_w=3.0, rx_w=0.5), sinks=[2])
    neighbours = {other: SimpleNamespace(cost=np.nan) for other in range(3)}
    PathCost(node, energy=energy).learn(history, neighbours)  # type: ignore[arg-type]
    return [neighbours[other].cost for other in range(3)]


@pytest.mark.parametrize("first_link", [(1.0, 0.0, 1.0), (0.0, 1.0, 1.0), (1.0, 1.0, 0.5)])
def test_what_was_heard_lately_counts_more(first_link: tuple[float, ...]) -> None:
    weights = [(1 - SMOOTHING) ** 2, 1 - SMOOTHING, 1.0]
    share = sum(w * each for w, each in zip(weights, first_link, strict=True)) / sum(weights)
    assert learnt(heard(*first_link), energy=False) == pytest.approx([1 / share**2 + 1, 1, 0])


def test_energy_counts_everybody_who_hears() -> None:
    """In units of what two ends spend: 0 is heard by one, 1 by two."""
    assert learnt(heard(1.0, 1.0), energy=True) == pytest.approx([1 + (3.0 + 2 * 0.5) / 3.5, (3.0 + 2 * 0.5) / 3.5, 0])


def test_without_a_history_nothing_is_known() -> None:
    assert np.isnan(learnt(heard(), energy=True)).all()
