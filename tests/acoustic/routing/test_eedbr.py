"""EEDBR: holding times (check 13 of section 9), whom a sender lists, and who keeps silent."""

from __future__ import annotations

import pytest

from tests.acoustic.routing.conftest import finish
from toolkit.acoustic.packets import PacketTracker
from toolkit.acoustic.routing.eedbr import Eedbr, Peer
from toolkit.core.world import World

PLACES = [(0, 0, 2000), (5, 0, 1920), (0, 5, 1950), (5, 5, 1980)]  # all in mutual range, the sink out of range
QUIET = {"profile": "evologics_like", "source_level_db": 125}


def build(network, **settings):
    return network(PLACES, [(0, 0, 0)], {"type": "eedbr", **settings}, modem=QUIET, mac="aloha")


def relays(rows) -> list[int]:
    return sorted(rows[(rows.kind == "tx") & (rows.phase == "data") & (rows.node > 0)].node)


@pytest.mark.parametrize(
    ("rank", "energy", "hold_s"), [(1, 1.0, 0.0), (1, 0.2, 0.0), (2, 0.5, 2.5 + 1.0), (2, 1.0, 1.0), (4, 0.0, 5.0 + 4.0)]
)
def test_holding_times(rank: int, energy: float, hold_s: float) -> None:
    assert Eedbr().hold_s(rank, energy) == pytest.approx(hold_s)


def test_the_fullest_batteries_are_listed_first(network) -> None:
    net = build(network, listed=3)
    node, peers = net.nodes[0], net.nodes[0].state.peers
    peers.clear()
    peers |= {1: Peer(1920, 0.5, 0.0), 2: Peer(1950, 0.9, 0.0), 3: Peer(1980, 0.5, 0.0)}
    peers |= {7: Peer(2100, 1.0, 0.0), 8: Peer(0.0, 1.0, 0.0), 9: Peer(1000, 1.0, -301.0)}  # deeper, a sink, forgotten
    assert node.state.candidates() == (2, 1, 3)
    peers[4] = Peer(1999, 0.95, 0.0)
    assert node.state.candidates() == (4, 2, 1)


def test_the_first_forwards_at_once_and_the_others_keep_silent(network) -> None:
    net = build(network)
    net.send(0, -1, 50, "data")
    rows = finish(net)
    assert relays(rows) == [1]  # equal energy: the shallowest is first
    sent = rows[(rows.kind == "tx") & (rows.phase == "data")].sort_values("t0_s")
    source, relay = sent.t0_s
    heard_s = source + sent.dur_s.iloc[0] + net.channel.delay_s[0, 1]
    assert relay == pytest.approx(heard_s)


def test_who_is_not_listed_drops(network) -> None:
    """With one name on the list, and that node deaf, nobody forwards."""
    net = build(network, listed=1)
    net.medium.listen(1, lambda frame, snr_db: None)
    net.send(0, -1, 50, "data")
    assert relays(finish(net)) == []
    net = build(network, listed=2)
    net.medium.listen(1, lambda frame, snr_db: None)
    net.send(0, -1, 50, "data")
    assert relays(finish(net)) == [2]


def test_missing_deliveries_loosen_the_silence(network) -> None:
    """With a ratio of zero told, nobody is silenced; with half the target, half are."""
    net = build(network)
    for node in net.nodes:
        node.state.ratio, node.state.told_s = 0.0, 1e9
    net.send(0, -1, 50, "data")
    assert relays(finish(net)) == [1, 2, 3]
    silent = 0
    for seed in range(30):
        net = network(PLACES, [(0, 0, 0)], {"type": "eedbr", "target_ratio": 0.8}, modem=QUIET, mac="aloha", seed=seed, duration_s=30.0)
        for node in net.nodes:
            node.state.ratio, node.state.told_s = 0.4, 1e9
        net.send(0, -1, 50, "data")
        silent += 2 not in relays(finish(net))
    assert 8 <= silent <= 22


def test_the_sinks_tell_the_ratio_and_it_gets_about(network) -> None:
    chain = [(0, 0, 1700), (0, 0, 850)]
    net = network(chain, [(0, 0, 0)], {"type": "eedbr", "hello_s": 20.0}, modem={"profile": "evologics_like", "source_level_db": 134})
    for seq in (0, 2):
        while len(net.tracker.packets) <= seq:
            net.tracker.create(0, 50)
        packet = net.tracker.packets[seq]
        net.tracker.hold(packet)
        net.tracker.deliver(packet, 2, 1)
    finish(net)
    for node in net.nodes[:2]:
        assert node.state.ratio == pytest.approx(2 / 3, abs=1 / 255)
        assert 0 < node.state.told_s < 600


def test_the_ratio_ashore_counts_gaps() -> None:
    tracker = PacketTracker(World(1, 10.0))
    assert tracker.ratio_ashore() == 1.0
    packets = [tracker.create(src, 10) for src in (3, 3, 3, 3, 4)]
    for index in (0, 3, 4):
        tracker.hold(packets[index])
        tracker.deliver(packets[index], 9, 1)
    assert tracker.ratio_ashore() == pytest.approx(3 / 5)


def test_nobody_to_list_is_a_void(network) -> None:
    net = network([(0, 0, 2000)], [(0, 0, 0)], "eedbr", modem=QUIET)
    net.send(0, -1, 50, "data")
    sends = finish(net).query("kind == 'send'")
    assert sends.outcome.item() == "lost"
