"""DBR against the numbers of its formula (check 11 of section 9)."""

from __future__ import annotations

import pytest

from tests.acoustic.routing.conftest import finish
from toolkit.acoustic.routing.dbr import Dbr


@pytest.mark.parametrize(("gain_m", "hold_s"), [(80, 0.0267), (50, 0.0667), (20, 0.1067)])
def test_holding_times(gain_m: float, hold_s: float) -> None:
    assert Dbr(range_m=100, delta_share=1.0).hold_s(gain_m) == pytest.approx(hold_s, abs=5e-5)
    assert Dbr(range_m=100, delta_share=0.25).hold_s(gain_m) == pytest.approx(4 * Dbr(range_m=100, delta_share=1.0).hold_s(gain_m))


def test_longest_hold() -> None:
    for share, hold_s in ((1.0, 0.133), (0.5, 0.267), (0.25, 0.533)):
        assert Dbr(range_m=100, delta_share=share).hold_s(0) == pytest.approx(hold_s, abs=5e-4)


def line(network, **settings):
    """A source at depth 100 m and three candidates that gain 80, 50 and 20 m, all in mutual range; the sink is out of range."""
    return network(
        [(0, 0, 2000), (5, 0, 1920), (0, 5, 1950), (5, 5, 1980)], [(0, 0, 0)], {"type": "dbr", "range_m": 100.0, **settings},
        modem={"profile": "evologics_like", "source_level_db": 125, "rate_bps": 10_000, "bandwidth_hz": 10_000}, mac="aloha",
    )


def relays(rows) -> list[int]:
    return sorted(rows[(rows.kind == "tx") & (rows.node > 0)].node)


def test_with_a_short_delta_the_deeper_candidates_keep_silent(network) -> None:
    net = line(network)
    net.send(0, -1, 38, "data")  # 50 bytes with the header: 40 ms
    assert relays(finish(net)) == [1]


def test_with_delta_r_a_frame_arrives_too_late_to_suppress(network) -> None:
    net = line(network, delta_share=1.0)
    net.send(0, -1, 38, "data")
    assert len(relays(finish(net))) > 1


def test_a_threshold_of_the_range_blocks_everybody(network) -> None:
    net = line(network, threshold_m=100.0)
    net.send(0, -1, 38, "data")
    assert relays(finish(net)) == []
