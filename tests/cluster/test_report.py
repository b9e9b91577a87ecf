"""What a run over a cluster cost: bytes by sender, the busiest link, and the time that crashes took, by hand."""

from __future__ import annotations

import pytest

from toolkit.cluster.report import network_rows
from toolkit.core.ledger import Ledger


def rows(ledger: Ledger, workers: int) -> dict[str, float]:
    return {name: value for name, _, value in network_rows(ledger.charges(), ledger.metrics(), workers)}


def sending(*nbytes: int) -> Ledger:
    """Node i sends so many bytes, in two messages; nodes of 0 send nothing."""
    ledger = Ledger()
    ledger.metric(9.0, "end_s", 9.0)
    for node, count in enumerate(nbytes):
        for part in (count // 4, count - count // 4):
            if part:
                ledger.charge(1.0, 2.0, node, 0, "tx", nbytes=part, energy_j=1.0)
    ledger.charge(0.0, 2.0, 0, 0, "rx", nbytes=10_000)
    return ledger


def test_the_busiest_worker_and_server_are_told_apart() -> None:
    found = rows(sending(40, 100, 60, 900, 800), workers=3)
    assert found["bytes_busiest_worker"] == 100
    assert found["bytes_busiest_server"] == 900
    assert found["bytes_total"] == 1900
    assert found["workers"] == 3
    assert found["end_s"] == 9.0


@pytest.mark.parametrize("nbytes", [(40, 100, 60), (40, 100, 0), (40, 0, 0), (0, 0, 0)])
def test_without_servers_none_is_told_whoever_sends(nbytes: tuple[int, ...]) -> None:
    """Also where the last workers send nothing, so that the ledger does not know of them."""
    found = rows(sending(*nbytes), workers=3)
    assert "bytes_busiest_server" not in found
    assert found["bytes_busiest_worker"] == max(nbytes)
    assert found["bytes_total"] == sum(nbytes)


def test_the_busiest_link_is_the_one_used_most() -> None:
    ledger = sending(4, 4)
    assert "busiest_link_utilisation" not in rows(ledger, 2)
    for name, share in (("a", 0.2), ("b", 0.7), ("c", 0.1)):
        ledger.metric(9.0, "link_utilisation", share, name)
    assert rows(ledger, 2)["busiest_link_utilisation"] == 0.7


@pytest.mark.parametrize(("crashes", "back", "down_s"), [
    ([], [], None), ([2.0], [3.5], 1.5), ([2.0], [], 7.0), ([2.0, 5.0], [3.0, 6.0], 2.0), ([2.0, 2.5], [4.0], 2.0),
    ([2.5, 2.0], [4.0], 2.0), ([2.0, 5.0], [3.0], 5.0), ([4.0], [1.0, 6.0], 2.0), ([1.0, 2.0, 3.0], [2.5, 7.0], 5.5),
])
def test_downtime_is_the_time_from_a_crash_until_work_goes_on(crashes: list[float], back: list[float], down_s: float | None) -> None:
    """What overlaps counts once, and what never goes on counts to the end, at 9 s."""
    ledger = sending(4, 4)
    for t_s in crashes:
        ledger.metric(t_s, "crash", 1.0, "worker1")
    for t_s in back:
        ledger.metric(t_s, "recovered", 1.0)
    assert rows(ledger, 2).get("downtime_s") == down_s
