"""Where there is nothing to know of the channel, knowing it brings nothing: limits of every channel-aware protocol (check 20)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acoustic.routing.conftest import finish, one_by_one, routes, settings
from toolkit.acoustic.prediction import Predictor
from toolkit.acoustic.routing import Routing

AWARE = sorted(name for name, protocol in Routing.members().items() if protocol.channel_aware)
PREDICTING = [name for name in AWARE if "prediction" in Routing.members()[name].model_fields]
COLUMN = [(0, 0, 900), (250, 60, 620), (60, 250, 380), (200, 120, 180), (400, 300, 500), (100, 420, 760)]
SINKS = [(120, 120, 0), (350, 250, 0)]
STOREYS = [(x, 0, depth - x / 5) for depth in (7500, 5000, 2500) for x in (0, 500)]
"""Two columns of nodes 2.5 km apart in depth: one storey up is a good link, two up is none."""


def still(network, name: str, **chosen: Any):
    """A channel that never changes: no shadowing, no fading, nothing that moves, no weather; and no frames but the packets'."""
    fabric = {
        "modem": {"profile": "evologics_like", "source_level_db": 158}, "mac": "aloha",
        "layout": {"positions_m": STOREYS, "sink_positions_m": [(250, 0, 0)], "depth_m": 8000},
    }
    return network(STOREYS, [], settings(name, beacon_s=36_000.0, range_m=3000.0, **chosen), **fabric)


def loud(network, name: str, **chosen: Any):
    """A source level at which every link is perfect, shadowing or not."""
    modem = {"profile": "evologics_like", "source_level_db": 190}
    routing = settings(name, beacon_s=36_000.0, hello_s=36_000.0, pong_s=8.0, **chosen)  # answers to a PING do not collide either
    return network(COLUMN, SINKS, routing, shadowing={"sigma_db": 3.0}, modem=modem, mac="aloha")


@pytest.mark.parametrize("prediction", sorted(Predictor.members()))
@pytest.mark.parametrize("name", PREDICTING)
def test_on_a_static_channel_all_predictors_route_alike(network, name: str, prediction: str) -> None:
    """Check 20 of section 9, sigma 0: with nothing to predict there is nothing to gain."""
    taken = [routes(one_by_one(still(network, name, prediction=other))) for other in ("persistence", prediction)]
    assert len(taken[0]) >= 3 * 2 * (1 + 2 + 3)
    assert taken[0] == taken[1]


@pytest.mark.parametrize("name", AWARE)
def test_on_a_static_channel_everything_arrives_by_the_fewest_hops(network, name: str) -> None:
    net = still(network, name)
    rows = one_by_one(net)
    sends = rows[rows.kind == "send"]
    assert (sends.outcome == "delivered").all()
    metrics = net.world.ledger.metrics()
    hops = metrics[metrics.name == "hops"].set_index("step").value
    for packet, source in zip(sends.packet, sends.node, strict=True):
        assert hops[packet] == 3 - source // 2


@pytest.mark.parametrize("name", AWARE)
def test_where_every_link_is_perfect_packets_go_straight_to_a_sink(network, name: str) -> None:
    """Check 20 of section 9, source level without limit: depth-greedy, one hop, since every sink is in reach; nobody delivers more."""
    net = loud(network, name)
    rows = one_by_one(net)
    sends = rows[rows.kind == "send"]
    assert len(sends) == 18
    assert (sends.outcome == "delivered").all()
    metrics = net.world.ledger.metrics()
    assert (metrics[metrics.name == "hops"].value == 1).all()
    unicast = [route for route in routes(rows) if route[2] >= 0]
    assert all(peer >= len(COLUMN) for _, _, peer in unicast)
    assert len(unicast) in {0, 18}, "nothing is sent twice"


def test_where_every_link_is_perfect_the_predictor_is_no_matter(network) -> None:
    for name in PREDICTING:
        taken = [routes(one_by_one(loud(network, name, prediction=other))) for other in ("persistence", "knn", "ewma", "oracle")]
        assert all(other == taken[0] for other in taken)


@pytest.mark.parametrize("build", [still, loud])
def test_with_sure_links_dbcar_o_is_dbr(network, build) -> None:
    """With p = 1 the holding times are DBR's, and so is who sends what, in which order."""
    ours, parent = (one_by_one(build(network, name)) for name in ("dbcar_o", "dbr"))
    if build is loud:
        assert routes(ours) == routes(parent)
    outcomes = [dict(zip(rows[rows.kind == "send"].packet, rows[rows.kind == "send"].outcome, strict=True)) for rows in (ours, parent)]
    assert outcomes[0] == outcomes[1]


def test_dbcar_at_full_level_is_depth_greedy_unicast(network) -> None:
    """The deepest node in a water without sinks in reach would hand its packet to the shallowest: here the last node but one."""
    net = network([*COLUMN, (0, 0, 30)], [(0, 60_000, 0)], settings("dbcar", beacon_s=36_000.0),
                  modem={"profile": "evologics_like", "source_level_db": 175}, mac="aloha")
    assert not net.nodes[0].state.neighbours.get(7)
    net.send(0, -1, 64, "data")
    assert routes(finish(net))[0] == (0, 0, 6)
