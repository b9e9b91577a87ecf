"""DBCAR-O: holding times, who goes first, and that with sure links it is DBR."""

from __future__ import annotations

import pytest

from tests.acoustic.routing.conftest import finish
from toolkit.acoustic.prediction import Forecast
from toolkit.acoustic.routing.dbcar_o import DbcarO
from toolkit.acoustic.routing.dbr import Dbr
from toolkit.core.work import Work

QUIET = {"profile": "evologics_like", "source_level_db": 136}


@pytest.mark.parametrize("share", [1.0, 0.25])
@pytest.mark.parametrize("gain_m", [0.0, 20.0, 50.0, 80.0, 100.0, 120.0])
def test_with_sure_links_it_holds_as_dbr_does(share: float, gain_m: float) -> None:
    sure = DbcarO(prediction="persistence", range_m=100, delta_share=share)
    assert sure.hold_s(gain_m, 1.0) == pytest.approx(Dbr(range_m=100, delta_share=share).hold_s(gain_m))


def test_holding_times_follow_the_score() -> None:
    """T = T_max (1 - score): R = 100 m and delta = R give T_max = 0.1333 s; 80 m at p = 0.5 score 0.4."""
    spec = DbcarO(prediction="persistence", range_m=100, delta_share=1.0)
    assert spec.longest_s == pytest.approx(0.1333, abs=1e-4)
    assert spec.hold_s(80.0, 0.5) == pytest.approx(0.08)
    assert spec.hold_s(80.0, 0.0) == spec.longest_s
    assert spec.hold_s(50.0, 0.9) < spec.hold_s(80.0, 0.5), "the deeper one with the surer link goes first"


def foresee(net, node: int, snr_db: float) -> None:
    """Let a node expect this of all its links upwards."""
    net.nodes[node].state.monitor.forward = lambda neighbour, at_s: (Forecast(snr_db, 0.0), Work())


@pytest.mark.parametrize(("poor", "good"), [(1, 2), (2, 1)])
def test_the_surer_way_up_goes_first_and_silences_the_other(network, poor: int, good: int) -> None:
    """Nodes 1 and 2 hear the source; whoever expects good links up sends first, and node 3 above, sending it on, silences the other."""
    places = [(0, 0, 2000), (0, 0, 1700), (100, 0, 1740), (0, 0, 720)]
    routing = {"type": "dbcar_o", "prediction": "persistence", "delta_share": 0.1, "beacon_s": 36_000.0}
    net = network(places, [(0, 0, 0)], routing, modem=QUIET, mac="aloha", duration_s=60.0)
    foresee(net, poor, -15.0)
    for node in (good, 3):
        foresee(net, node, 30.0)
    net.send(0, -1, 50, "data")
    rows = finish(net)
    sent = rows[(rows.kind == "tx") & (rows.phase == "data")].sort_values("t0_s")
    assert sent.node.tolist() == [0, good, 3]
    assert rows[rows.kind == "send"].outcome.item() == "delivered"


def test_the_best_of_the_links_upwards_counts(network) -> None:
    routing = {"type": "dbcar_o", "prediction": "persistence", "beacon_s": 1800.0}
    net = network([(0, 0, 800), (200, 0, 400)], [(0, 0, 0), (3000, 0, 0)], routing)
    state = net.nodes[0].state
    levels = {1: 4.0, 2: 30.0, 3: -20.0}
    state.monitor.forward = lambda neighbour, at_s: (Forecast(levels[neighbour.id], 0.0), Work(flops=1.0))
    success, work = state._best_upwards(80)
    assert success == pytest.approx(1.0)
    assert work.flops == len(list(state.monitor.upward())) > 1
    levels[2] = -20.0
    assert state._best_upwards(80)[0] == pytest.approx(state.monitor.budget.success(Forecast(4.0, 0.0), 640))
