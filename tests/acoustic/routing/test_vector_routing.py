"""VBF and HH-VBF against their formulas, and who forwards in small networks (check 12 of section 9)."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.acoustic.routing.conftest import finish
from toolkit.acoustic.routing.hh_vbf import HhVbf
from toolkit.acoustic.routing.vbf import Vbf
from toolkit.acoustic.routing.vectors import advance_m, distance_to_line_m

SOURCE, SINK = (0, 0, 2800), (0, 0, 0)
QUIET = {"profile": "evologics_like", "source_level_db": 136}  # 1000 m are well heard, 1700 m not at all


def relays(rows) -> list[int]:
    return sorted(rows[(rows.kind == "tx") & (rows.node > 0)].node)


def build(network, places: list, routing: dict, sinks=(SINK,)):
    net = network([SOURCE, *places], list(sinks), routing, modem=QUIET, mac="aloha")
    net.send(0, -1, 50, "data")
    return net


def test_geometry() -> None:
    origin, target = np.array([0.0, 0, 100]), np.array([0.0, 0, 0])
    assert distance_to_line_m(np.array([30.0, 40, 55]), origin, target) == pytest.approx(50)
    assert distance_to_line_m(np.array([30.0, 40, 100]), origin, origin) == pytest.approx(50)
    assert advance_m(np.array([30.0, 40, 55]), origin, target) == pytest.approx(45)
    assert advance_m(np.array([3.0, 0, 120]), origin, target) == pytest.approx(-20)
    slanted = np.array([300.0, 0, 0])
    assert distance_to_line_m(np.array([100.0, 0, 0]), np.array([0.0, 0, 400]), slanted) == pytest.approx(200 * 400 / 500)


def test_the_waiting_time_of_vbf() -> None:
    vbf = Vbf(range_m=100, pipe_m=20)
    assert vbf.wait_s(0.94, 70.0) == pytest.approx(0.9895, abs=5e-5)
    assert vbf.alpha(0.0, 100.0) == 0.0
    assert vbf.alpha(20.0, -100.0) == 3.0
    assert vbf.alpha(10.0, 70.0) == pytest.approx(0.8)


def test_alpha_and_waits_keep_their_bounds() -> None:
    rng = np.random.default_rng(1)
    vbf, hop = Vbf(), HhVbf()
    for _ in range(2000):
        origin, target, forwarder, here = rng.uniform(-1500, 1500, (4, 3))
        advanced_m = advance_m(here, forwarder, target)
        distance_m = float(np.linalg.norm(here - forwarder))
        assert abs(advanced_m) <= distance_m + 1e-9
        alpha = vbf.alpha(distance_to_line_m(here, origin, target), advanced_m)
        assert 0 <= alpha <= 3
        assert 0 <= hop.alpha(advanced_m) <= 2
        assert vbf.wait_s(alpha, distance_m) >= 0
        assert hop.wait_s(hop.alpha(advanced_m), distance_m) >= 0


def test_a_node_outside_the_pipe_never_sends(network) -> None:
    inside, outside = (0, 0, 1900), (600, 0, 1950)
    for pipe_m, expected in ((500, [1, 3]), (700, [1, 2, 3])):
        net = build(network, [inside, outside, (0, 0, 1000)], {"type": "vbf", "pipe_m": pipe_m, "alpha_c": 3.0})
        rows = finish(net)
        assert rows[rows.kind == "send"].outcome.item() == "delivered"
        assert set(relays(rows)) <= set(expected)
        assert (2 in relays(rows)) == (2 in expected)


def test_overheard_copies_lower_the_threshold(network) -> None:
    """Advances of 0.9, 0.5 and 0.2 R give alphas 0.1, 0.5, 0.8. The first sends; the second hears one copy and 0.5 < 0.75 sends too;
    the third hears two and 0.8 >= 0.375 keeps silent."""
    places = [(0, 0, 2800 - 810), (0, 0, 2800 - 450), (0, 0, 2800 - 180)]
    net = build(network, places, {"type": "vbf", "range_m": 900, "delay_s": 3.0})
    rows = finish(net)
    assert relays(rows) == [1, 2]
    begun = rows[rows.kind == "tx"].sort_values("t0_s")
    first = begun[begun.node == 1].t0_s.item()
    arrival_s = net.spec.modem.frame_s(50 + 28)
    assert first == pytest.approx(arrival_s + net.channel.delay_s[0, 1] + 3 * math.sqrt(0.1) + 90 / 1500, abs=1e-6)


def test_hop_by_hop_forwards_only_away_from_the_overheard(network) -> None:
    """Beside the first forwarder, 400 m from its vector: silent if beta is more than that."""
    for beta_m, expected in ((300, [1, 2]), (500, [1])):
        net = build(network, [(0, 0, 2000), (400, 0, 2100)], {"type": "hh_vbf", "beta_m": beta_m, "delay_s": 5.0})
        assert relays(finish(net)) == expected


@pytest.mark.parametrize(("name", "turns"), [("vbf", False), ("hh_vbf", True)])
def test_the_vector_changes_at_each_hop_or_never(network, name: str, turns: bool) -> None:
    places = [(200, 0, 1900), (0, 100, 980)]
    net = build(network, places, {"type": name})
    origins = {}
    for node in net.nodes:
        def spy(frame, node=node, send=node.send_frame):
            origins[node.id] = tuple(frame.body.origin_m)
            assert tuple(frame.body.forwarder_m) == tuple(net.channel.position_m[node.id])
            assert tuple(frame.body.target_m) == SINK
            return send(frame)

        node.send_frame = spy
    assert finish(net).query("kind == 'send'").outcome.item() == "delivered"
    assert origins[1] == (places[0] if turns else SOURCE)
    assert origins[2] == (places[1] if turns else SOURCE)


def test_the_nearest_sink_is_aimed_at(network) -> None:
    net = network([(0, 0, 500)], [(900, 0, 0), (-300, 0, 0), (500, 0, 0)], "vbf", modem=QUIET)
    assert tuple(net.nodes[0].nearest_sink_m(net.nodes[0].position_m)) == (-300, 0, 0)


def test_ttl_ends_it(network) -> None:
    for name in ("vbf", "hh_vbf"):
        net = build(network, [(0, 0, 1900), (0, 0, 1000)], {"type": name, "ttl": 2})
        sends = finish(net).query("kind == 'send'")
        assert sends.outcome.item() == "lost"
        assert sends.phase.item() == "ttl"
