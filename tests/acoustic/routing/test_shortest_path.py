"""Static shortest path: expected transmissions, Dijkstra against a plain search, and the ways taken."""

from __future__ import annotations

import numpy as np
import pytest

from tests.acoustic.routing.conftest import finish
from toolkit.acoustic.routing.shortest_path import etx_matrix, paths

QUIET = {"profile": "evologics_like", "source_level_db": 136}


@pytest.mark.parametrize(("per_data", "per_ack", "etx"), [(0.1, 0.01, 1.122), (0.3, 0.03, 1.473), (0.5, 0.05, 2.105)])
def test_expected_transmissions(per_data: float, per_ack: float, etx: float) -> None:
    """The numbers of section 4.4: data one way, the acknowledgement the other."""
    data, ack = np.zeros((2, 2)), np.zeros((2, 2))
    data[0, 1], ack[1, 0] = 1.0 - per_data, 1.0 - per_ack
    found = etx_matrix(data, ack)
    assert found[0, 1] == pytest.approx(etx, abs=5e-4)
    assert np.isinf(found[[0, 1, 1], [0, 0, 1]]).all()


def by_plain_search(etx: np.ndarray, sinks: list[int]) -> np.ndarray:
    """Bellman and Ford's relaxation, over and over."""
    cost = np.full(len(etx), np.inf)
    cost[sinks] = 0.0
    for _ in range(len(etx)):
        for node in set(range(len(etx))) - set(sinks):
            cost[node] = min(etx[node, other] + cost[other] for other in range(len(etx)))
    return cost


def test_ways_are_the_shortest_and_have_no_loops() -> None:
    rng = np.random.default_rng(2)
    for _ in range(30):
        data = rng.random((12, 12)) * (rng.random((12, 12)) < 0.3)
        etx = etx_matrix(data, rng.random((12, 12)))
        sinks = [10, 11]
        next_hop, cost = paths(etx, sinks)
        assert cost == pytest.approx(by_plain_search(etx, sinks))
        for node in range(10):
            if next_hop[node] < 0:
                assert np.isinf(cost[node])
                continue
            assert cost[node] == pytest.approx(etx[node, next_hop[node]] + cost[next_hop[node]])
            at, steps = node, 0
            while at not in sinks:
                at, steps = next_hop[at], steps + 1
                assert steps <= 10


def test_sinks_relay_nothing() -> None:
    """The way through sink 2 to sink 3 would be no shorter; the one to sink 2 ends there."""
    etx = np.full((4, 4), np.inf)
    etx[0, 1], etx[1, 2], etx[2, 3], etx[0, 3] = 1.0, 1.0, 0.1, 9.0
    next_hop, cost = paths(etx, [2, 3])
    assert next_hop.tolist() == [1, 2, -1, -1]
    assert cost.tolist() == [2.0, 1.0, 0.0, 0.0]


def routes(rows) -> list[tuple[int, int, int]]:
    data = rows[(rows.kind == "tx") & (rows.phase == "data")]
    return list(zip(data.packet, data.node, data.peer, strict=True))


def test_two_good_hops_are_better_than_a_poor_one(network) -> None:
    """A link of 1300 m gets a frame through about once in fifty times; by way of the node in the middle it takes two transmissions."""
    net = network([(0, 0, 1300), (100, 0, 650)], [(0, 0, 0)], "shortest_path", modem=QUIET)
    assert net.nodes[0].state.etx == pytest.approx(2.0, abs=0.05)
    net.send(0, -1, 64, "data")
    rows = finish(net)
    assert routes(rows) == [(0, 0, 1), (0, 1, 2)]
    assert rows[rows.kind == "send"].outcome.item() == "delivered"


def test_on_a_static_channel_the_past_says_what_the_present_says(network) -> None:
    ways = []
    for knows in ("history", "start"):
        net = network([(0, 0, 2400), (300, 0, 1700), (0, 200, 1500), (0, 0, 800)], [(0, 0, 0), (900, 0, 0)],
                      {"type": "shortest_path", "knows": knows}, modem=QUIET)
        ways.append([(node.state.next_hop, round(node.state.etx, 6)) for node in net.nodes])
    assert ways[0] == ways[1]


def test_without_a_way_a_packet_is_in_a_void(network) -> None:
    net = network([(0, 0, 2900)], [(0, 0, 0)], "shortest_path", modem=QUIET)
    net.send(0, -1, 64, "data")
    rows = finish(net)
    assert routes(rows) == []
    assert rows[rows.kind == "send"].phase.item() == "void"


def test_a_dead_link_is_tried_so_often_and_no_more(network) -> None:
    net = network([(0, 0, 500)], [(0, 0, 0)], {"type": "shortest_path", "tries": 3}, modem=QUIET)
    net.medium.listen(1, lambda frame, snr_db: None)
    net.send(0, -1, 64, "data")
    rows = finish(net)
    assert routes(rows) == [(0, 0, 1)] * 3
    assert rows[rows.kind == "send"].phase.item() == "retries"
