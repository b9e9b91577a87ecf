"""Batteries end: who is empty falls silent, what it held is lost, and the report says when."""

from __future__ import annotations

import numpy as np
import pytest

from tests.acoustic.routing.conftest import finish, network, settings, start_traffic  # noqa: F401
from toolkit.acoustic.batteries import ways_out
from toolkit.acoustic.report import summarise_run
from toolkit.acoustic.routing import Routing
from toolkit.core.charges import Charges

COLUMN = [(0, 0, 900), (250, 60, 620), (60, 250, 380)]
SINKS = [(120, 120, 0)]
IDLE_W = 0.085


@pytest.mark.parametrize("name", sorted(Routing.members()))
def test_an_empty_node_falls_silent(network, name: str) -> None:  # noqa: F811
    """A battery for at most nine minutes of idling, in an hour: whatever it is told to do, nothing is sent after its end."""
    battery_j = 540.0 * IDLE_W
    net = network(COLUMN, SINKS, settings(name), duration_s=3600.0, battery_j=battery_j, history_s=0.0, epoch_s=60.0)
    start_traffic(net)
    rows = finish(net)
    deaths = net.world.ledger.metrics().query("name == 'death'")
    died_s = dict(zip(deaths.who.astype(int), deaths.t_s, strict=True))
    assert set(died_s) == {0, 1, 2}
    assert max(died_s.values()) <= 540.0 + 1.0
    for node, end_s in died_s.items():
        own = rows[(rows.node == node) & (rows.kind == "tx")]
        assert (own.t0_s <= end_s).all()
        spent_j = rows[(rows.node == node) & rows.kind.isin(["tx", "rx", "idle", "compute"])].energy_j.sum()
        assert battery_j * 0.99 <= spent_j <= battery_j * 1.2
    sends = rows[rows.kind == "send"]
    late = sends[sends.t0_s > 541.0]
    assert len(late) >= 3 * 50
    assert set(late.outcome) == {"lost"}
    assert set(late.phase) == {"dead"}
    assert not (sends.outcome == "in_flight").any()


def test_whom_no_battery_limits_does_not_die(network) -> None:  # noqa: F811
    for fabric in ({}, {"battery_j": 45.0, "dies": False}):
        net = network(COLUMN, SINKS, settings("dbr"), duration_s=1200.0, **fabric)
        start_traffic(net)
        rows = finish(net)
        assert not len(net.world.ledger.metrics().query("name == 'death'"))
        assert (rows[rows.kind == "send"].outcome == "delivered").sum() > 40


def test_a_node_that_only_idles_dies_when_idling_has_emptied_it(network) -> None:  # noqa: F811
    net = network([(0, 0, 900)], [(0, 60_000, 0)], settings("dbr"), duration_s=1000.0, battery_j=50.0, epoch_s=120.0)
    finish(net)
    assert net.world.ledger.metrics().query("name == 'death'").t_s.item() == pytest.approx(50.0 / IDLE_W, abs=1e-3)


def test_residual_energy_counts_idling(network) -> None:  # noqa: F811
    net = network([(0, 0, 900)], [(0, 0, 0)], settings("dbr"), duration_s=1000.0, battery_j=100.0)
    net.world.env.run(until=500.0)
    assert net.nodes[0].residual_energy == pytest.approx(1.0 - 500.0 * IDLE_W / 100.0)
    assert net.nodes[1].residual_energy == 1.0


def test_batteries_may_begin_unequal_and_energies_can_be_told_apart(network) -> None:  # noqa: F811
    """Full ones of 50 kJ stay within a step of 1/255 of each other for a day: whoever routes by energy is blind."""
    places = [(50.0 * index, 0, 600) for index in range(20)]
    net = network(places, [(0, 0, 0)], settings("eedbr"), duration_s=1000.0, battery_j=50_000.0, least_charge=0.3)
    net.world.env.run(until=500.0)
    steps = np.array([round(255 * node.residual_energy) for node in net.nodes[:-1]])
    assert steps.min() >= round(255 * 0.3) - 1
    assert len(set(steps.tolist())) > 12
    assert net.nodes[-1].residual_energy == 1.0


def test_the_first_cut_off_node_is_noted(network) -> None:  # noqa: F811
    """Node 0 reaches the sink through node 1 alone, which forwards for both and dies first."""
    net = network([(0, 0, 2400), (0, 0, 1300)], [(0, 0, 0)], settings("shortest_path"), duration_s=20_000.0, battery_j=1200.0,
                  modem={"profile": "evologics_like", "source_level_db": 140}, epoch_s=60.0)
    start_traffic(net)
    rows = finish(net)
    metrics = net.world.ledger.metrics()
    deaths = metrics.query("name == 'death'").set_index("who").t_s
    cut_off = metrics.query("name == 'cut_off'")
    assert deaths["1"] < deaths["0"]
    assert cut_off.who.item() == "0"
    assert deaths["1"] <= cut_off.t_s.item() <= deaths["1"] + 61.0
    rows = summarise_run(Charges(rest=[rows]), metrics, 20_000.0, 1800.0, battery_j=1200.0)
    found = {name: value for name, _, value in rows}
    assert found["lifetime_first_d"] == pytest.approx(deaths["1"] / 86_400)
    assert found["lost_dead"] > 0


def test_ways_out_by_hand() -> None:
    open_to = np.zeros((4, 4), dtype=bool)
    open_to[0, 1] = open_to[1, 3] = open_to[3, 2] = True
    assert ways_out(open_to, np.array([False, False, False, True])).tolist() == [True, True, False, True]
