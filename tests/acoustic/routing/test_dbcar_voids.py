"""DBCAR in voids: sideways by forecast, waiting only for what is foreseen, a last try; and next hops ranked by the cost of the way."""

from __future__ import annotations

import numpy as np
import pytest

from tests.acoustic.routing.conftest import finish
from tests.acoustic.routing.test_dbcar_rules import FAR_SINK, dbcar, foresee, level_of, routes
from toolkit.acoustic.routing.dbcar import DbcarCarried
from toolkit.acoustic.routing.neighbours import NO_WAY, decode_cost, encode_cost


def test_cost_bytes_keep_three_percent() -> None:
    for cost in np.geomspace(0.05, 1400.0, 300):
        assert 1.0 + decode_cost(encode_cost(float(cost))) == pytest.approx(1.0 + cost, rel=0.015)
    assert decode_cost(encode_cost(0.0)) == 0.0
    assert encode_cost(float("inf")) == encode_cost(2000.0) == NO_WAY
    assert all(0 <= encode_cost(cost) <= 255 for cost in (0.0, 1500.0, 1e9))


def always(level_db: float):
    return lambda other, at_s: level_db


# Sideways

BESIDE = [(0, 0, 500), (300, 0, 520), (300, 0, 100)]
"""Node 1 lies a little deeper than node 0, and node 2 above both."""


@pytest.mark.parametrize(
    ("settings", "success", "chosen"),
    [({}, 0.6, 1), ({}, 0.4, None), ({"sideways_p": 0.8}, 0.6, None), ({"sideways_hops": 0}, 0.6, None)],
)
def test_a_hop_sideways_takes_what_is_likely_enough(network, settings: dict, success: float, chosen: int | None) -> None:
    """All ways up are dead; a neighbour that has one is beside."""
    net = network(BESIDE, FAR_SINK, dbcar(void="hold", last_try=False, lifetime_s=100.0, **settings))
    levels = {1: level_of(net, success), 2: -30.0}
    foresee(net, 0, lambda other, at_s: levels[other])
    net.nodes[0].state.neighbours[1].has_way_up = True
    net.send(0, -1, 64, "data")
    assert [to for frm, to in routes(finish(net)) if frm == 0][:1] == ([] if chosen is None else [chosen])


@pytest.mark.parametrize(("way_up_p", "success", "told"), [(0.5, 0.6, True), (0.5, 0.4, False), (0.0, 0.01, True)])
def test_a_way_up_is_one_that_is_foreseen_to_work(network, way_up_p: float, success: float, told: bool) -> None:
    """It used to be any shallower neighbour heard of late, however bad the link."""
    net = network(BESIDE[:1] + BESIDE[2:], FAR_SINK, dbcar(way_up_p=way_up_p))
    foresee(net, 0, lambda other, at_s: level_of(net, success))
    assert net.nodes[0].state.rules.way_up()[0] is told


# Waiting


def sent_at(network, snr_db, **settings: object) -> list[float]:
    """When data frames leave a node below a sink that in truth hears it perfectly."""
    net = network([(0, 0, 500)], [(0, 0, 0)], dbcar(**{"way_up_p": 0.0, "tries": 1, **settings}), duration_s=4000.0)
    foresee(net, 0, lambda other, at_s: snr_db(net, at_s))
    net.send(0, -1, 64, "data")
    rows = finish(net)
    return rows[(rows.kind == "tx") & (rows.phase == "data")].t0_s.tolist()


def test_a_packet_waits_where_better_is_foreseen_and_not_else(network) -> None:
    """The forecast is 0.1; within the packet's hour it either gets better, in the next cell of the grid, or does not."""
    poor = lambda net, at_s: level_of(net, 0.1)  # noqa: E731
    better = lambda net, at_s: level_of(net, 0.1 if at_s < 1800.0 else 0.9)  # noqa: E731
    later = lambda net, at_s: level_of(net, 0.1 if at_s < 5400.0 else 0.9)  # noqa: E731
    assert sent_at(network, poor, lifetime_s=3600.0)[0] == pytest.approx(0.0, abs=1.0)
    assert sent_at(network, better, lifetime_s=3600.0)[0] == pytest.approx(1800.0, abs=1.0)
    assert sent_at(network, later, lifetime_s=3600.0)[0] == pytest.approx(0.0, abs=1.0)
    assert sent_at(network, poor, lifetime_s=3600.0, void="hold", last_try=False) == []


def test_what_is_all_but_hopeless_is_tried_once_before_it_is_given_up(network) -> None:
    hopeless = lambda net, at_s: level_of(net, 0.001)  # noqa: E731
    assert sent_at(network, hopeless, lifetime_s=3600.0, last_try=False) == []
    last = sent_at(network, hopeless, lifetime_s=3600.0)
    assert last == [pytest.approx(3585.0, abs=1.0)]


@pytest.mark.parametrize(("growth", "gaps_s"), [(1.0, [30.0, 30.0, 30.0, 30.0]), (2.0, [30.0, 60.0, 120.0, 120.0])])
def test_a_neighbour_that_stays_silent_is_left_alone_longer_each_time(network, growth: float, gaps_s: list[float]) -> None:
    """However good the forecast says it is: what did not answer four times is asked more and more seldom."""
    net = network([(0, 0, 500)], [(0, 0, 0)], dbcar(tries=1, hold_s=10.0, backoff_s=0.0, blacklist_growth=growth), duration_s=600.0)
    foresee(net, 0, always(30.0))
    net.medium.listen(1, lambda frame, snr_db: None)
    net.send(0, -1, 64, "data")
    rows = finish(net)
    sent_s = rows[(rows.kind == "tx") & (rows.phase == "data")].t0_s.to_numpy()
    assert np.diff(sent_s)[:4] == pytest.approx(gaps_s, abs=13.0)


# The cost of the whole way

LADDER = [(0, 0, 900), (0, 0, 500), (400, 0, 880)]


def test_the_cheapest_whole_way_beats_the_greatest_gain(network) -> None:
    """Node 1 gains 400 m and its own way costs 6; node 2 lies hardly higher, and a sink hears it."""
    for rule, chosen in (("a", 1), ("etx", 2)):
        net = network(LADDER, FAR_SINK, dbcar(rule=rule))
        foresee(net, 0, always(level_of(net, 0.95)))
        neighbours = net.nodes[0].state.neighbours
        neighbours[1].cost, neighbours[2].cost = 6.0, 1.1
        net.send(0, -1, 64, "data")
        assert routes(finish(net))[0] == (0, chosen)


def test_a_node_tells_the_least_cost_of_its_ways(network) -> None:
    """min over neighbours of 1 / p + what they told, by hand."""
    net = network(LADDER, FAR_SINK, dbcar(rule="etx"))
    successes = {1: 0.5, 2: 0.8}
    foresee(net, 0, lambda other, at_s: level_of(net, successes[other]))
    neighbours = net.nodes[0].state.neighbours
    neighbours[1].cost, neighbours[2].cost = 1.0, 3.0
    assert net.nodes[0].state.rules.own_cost()[0] == pytest.approx(1.0 / 0.5 + 1.0, rel=0.01)
    neighbours[1].cost = 2.5
    assert net.nodes[0].state.rules.own_cost()[0] == pytest.approx(1.0 / 0.8 + 3.0, rel=0.01)
    neighbours[1].cost = neighbours[2].cost = float("inf")
    assert net.nodes[0].state.rules.own_cost()[0] == float("inf")


def test_a_packet_only_moves_to_less_than_its_holder_told(network) -> None:
    """Whoever was promised a cost of 2 hands on to who told less; the rest would let it circle."""
    net = network(LADDER, FAR_SINK, dbcar(rule="etx", sideways_hops=0, last_try=False, lifetime_s=100.0))
    router = net.nodes[0].state
    foresee(net, 0, lambda other, at_s: level_of(net, 0.95))
    router.neighbours[1].cost, router.neighbours[2].cost = 2.0, 1.9
    packet = net.tracker.create(0, 64)
    net.tracker.hold(packet)
    hops, _, _ = router.rules.candidates(DbcarCarried(packet, 1, 0, 99, 2.0))
    assert [hop.neighbour.id for hop in hops] == [2]
    hops, _, _ = router.rules.candidates(DbcarCarried(packet, 1, 0, 99, 1.5))
    assert hops == []


def test_the_energy_rule_prices_a_transmission_by_all_who_pay_for_it(network) -> None:
    """By hand: the sender pays tx_w / its share, each of two hearers rx_w / theirs, in units of one full sender and one full hearer."""
    net = network([(0, 0, 900), (-300, 0, 500), (300, 0, 500)], FAR_SINK, dbcar(rule="energy"))
    node = net.nodes[0]
    router, modem = node.state, node.modem
    foresee(net, 0, always(level_of(net, 0.8)))
    router.neighbours[1].cost, router.neighbours[2].cost = 1.0, float("inf")
    router.neighbours[1].energy, router.neighbours[2].energy = 0.5, 1.0
    for residual in (1.0, 0.25):
        node.residual = lambda _, share=residual: share
        price = (modem.tx_w / residual + modem.rx_w * (1 / 0.5 + 1)) / (modem.tx_w + modem.rx_w)
        assert router.rules.own_cost()[0] == pytest.approx(price / 0.8 + 1.0, rel=0.01)


def test_transmissions_all_cost_the_same(network) -> None:
    net = network([(0, 0, 900), (-300, 0, 500)], FAR_SINK, dbcar(rule="etx"))
    foresee(net, 0, always(level_of(net, 0.8)))
    net.nodes[0].residual = lambda _: 0.1
    net.nodes[0].state.neighbours[1].cost = 1.0
    assert net.nodes[0].state.rules.own_cost()[0] == pytest.approx(1 / 0.8 + 1.0, rel=0.01)
