"""CARP: link quality, hop counts, whom a sender chooses, trains and what is sent again (check 14 of section 9)."""

from __future__ import annotations

import numpy as np
import pytest

from tests.acoustic.routing.conftest import finish, start_traffic
from toolkit.acoustic.packets import Frame
from toolkit.acoustic.routing.carp import DATA_BYTES, PING_BYTES, UNKNOWN, Carp, CarpHello, Data, Ping, Pong
from toolkit.acoustic.routing.neighbours import LinkBudget

STOREY_M = 900
QUIET = {"profile": "evologics_like", "source_level_db": 136}  # one storey up is well heard, two not at all


def chain(network, storeys: int = 3, **settings):
    places = [(0, 0, STOREY_M * (storeys - i)) for i in range(storeys)]
    return network(places, [(0, 0, 0)], {"type": "carp", **settings}, modem=QUIET, mac="aloha")


def sent(rows, phase: str = "data") -> list[tuple[int, int]]:
    own = rows[(rows.kind == "tx") & (rows.phase == phase)]
    return list(zip(own.node, own.peer, strict=True))


def send_at(net, t_s: float, node: int, count: int = 1) -> None:
    def program():
        yield net.world.env.timeout(t_s)
        for _ in range(count):
            net.send(node, -1, 50, "data")

    net.world.env.process(program())


def test_link_quality_is_a_share_and_no_whole_number() -> None:
    """Check 14 of section 9: 3 of 4 acknowledged are 0.75, not the 0 of an integer division."""
    spec = Carp(smoothing=0.3)
    assert spec.smoothed(0.5, 3, 4) == pytest.approx(0.3 * 0.75 + 0.7 * 0.5)
    assert spec.smoothed(1.0, 1, 4) == pytest.approx(0.3 * 0.25 + 0.7)
    assert spec.smoothed(0.2, 4, 4) == pytest.approx(0.44)


def test_beacons_of_the_history_are_trains_of_one(network) -> None:
    net = chain(network, 2, smoothing=0.25)
    good = 1.0 - 0.75**20 * 0.5  # twenty beacons, all heard both ways, after a first guess of 0.5
    assert net.nodes[0].state.quality == pytest.approx({1: good})
    assert net.nodes[1].state.quality == pytest.approx({0: good, 2: good})


def test_a_flood_tells_everybody_their_hops_to_a_sink(network) -> None:
    net = chain(network)
    assert [node.state.hop_count for node in net.nodes] == [UNKNOWN, UNKNOWN, UNKNOWN, 0]
    net.world.env.run(until=60.0)
    assert [node.state.hop_count for node in net.nodes] == [3, 2, 1, 0]
    assert net.nodes[1].state._next_hops == {0: 3, 2: 1}


def test_a_new_flood_replaces_an_old_count_and_an_old_one_does_not(network) -> None:
    net = chain(network)
    net.world.env.run(until=60.0)
    node = net.nodes[1]
    node.state.take_hello(CarpHello(node.state.flood, 5))
    assert node.state.hop_count == 2
    node.state.take_hello(CarpHello(node.state.flood - 1, 0))
    assert node.state.hop_count == 2
    node.state.take_hello(CarpHello(node.state.flood + 1, 5))
    assert node.state.hop_count == 6
    node.state.take_hello(CarpHello(node.state.flood, 2))
    assert node.state.hop_count == 3


@pytest.mark.parametrize(
    ("quality", "pongs", "chosen"),
    [
        ({1: 0.9, 2: 0.5}, {1: Pong(1, 9, 1.0, 0.3), 2: Pong(1, 9, 1.0, 0.8)}, 2),  # 0.27 against 0.40
        ({1: 0.9}, {1: Pong(1, 9, 1.0, 0.5), 2: Pong(1, 9, 1.0, 0.8)}, 1),  # 0.45 against 0.5 * 0.8, the first guess
        ({}, {1: Pong(2, 9, 1.0, 1.0), 2: Pong(1, 9, 0.1, 1.0)}, 2),  # a tie goes to the smaller hop count
        ({}, {1: Pong(1, 9, 0.4, 1.0), 2: Pong(1, 1, 0.5, 1.0)}, 2),  # then to energy
        ({}, {1: Pong(1, 3, 0.4, 1.0), 2: Pong(1, 2, 0.4, 1.0)}, 1),  # then to room
    ],
)
def test_the_relay_has_the_best_product(network, quality: dict, pongs: dict, chosen: int) -> None:
    net = chain(network)
    state = net.nodes[0].state
    state.quality = quality
    assert max(pongs, key=lambda relay: state.goodness(relay, pongs[relay])) == chosen


def test_quality_onwards_leaves_out_who_asks_and_who_is_no_nearer(network) -> None:
    net = chain(network)
    state = net.nodes[1].state
    state.hop_count, state.quality = 2, {0: 0.9, 2: 0.6, 7: 0.8, 8: 0.95}
    state._next_hops = {0: 1, 2: 1, 7: 2, 8: 3}
    assert state._best_onwards(0) == pytest.approx(0.6)
    assert state._best_onwards(5) == pytest.approx(0.9)


def test_a_node_in_an_exchange_of_its_own_does_not_answer(network) -> None:
    for busy, answers in ((True, 0), (False, 1)):
        net = chain(network, 2)
        net.world.env.run(until=60.0)
        net.nodes[1].state._busy = busy
        net.nodes[1].state._answer(0, Ping(2, True, 1, 67))
        assert len(sent(finish(net), "pong")) == answers


def test_packets_travel_in_trains_with_one_acknowledgement(network) -> None:
    """Six packets over one hop: trains of 4 and 2, each with one ping, one pong and one ack."""
    net = chain(network, 1)
    send_at(net, 60.0, 0, count=6)
    rows = finish(net)
    data = rows[(rows.kind == "tx") & (rows.phase == "data")]
    assert (rows[rows.kind == "send"].outcome == "delivered").all()
    assert len(data) == 6
    assert [len(sent(rows, phase)) for phase in ("ping", "pong", "ack")] == [2, 2, 2]
    gaps = np.diff(data.t0_s.to_numpy())
    back_to_back = gaps < data.dur_s.iloc[0] + 1e-9
    assert back_to_back.tolist() == [True, True, True, False, True]
    assert net.nodes[0].state.quality[1] > 0.99


def test_what_is_missing_is_sent_again(network) -> None:
    net = chain(network, 1)
    node, sink = net.nodes
    refused: list[int] = []

    def listen(frame, snr_db: float) -> None:
        if isinstance(frame.body, Data) and frame.body.place == 1 and not refused:
            refused.append(frame.packet.id)
            return
        net.spec.routing.on_receive(sink, frame, snr_db)

    net.medium.listen(1, listen)
    node.state.quality = {1: 1.0}

    send_at(net, 60.0, 0, count=3)
    rows = finish(net)
    data = rows[(rows.kind == "tx") & (rows.phase == "data")]
    assert (rows[rows.kind == "send"].outcome == "delivered").all()
    assert data.packet.value_counts().to_dict() == {packet: 2 if packet in refused else 1 for packet in range(3)}
    first = 0.3 * 2 / 3 + 0.7  # two of three, then one of one
    assert node.state.quality[1] == pytest.approx(0.3 + 0.7 * first)


def test_a_ping_is_as_likely_lost_as_data(network) -> None:
    """Control at lower power (section 4.6): at every SNR a ping is heeded as often as a frame of data is decoded."""
    net = chain(network, 1)
    spec, node = net.spec.routing, net.nodes[0]
    nbytes = DATA_BYTES + 64
    per = node.modem.success_table().per
    for snr_db in np.arange(2.0, 14.0, 0.5):
        data, ping = (1.0 - per(float(node.modem.ebn0_db(snr_db)), 8 * length) for length in (nbytes, PING_BYTES))
        heeded = spec.heeded(LinkBudget(node.modem), float(snr_db), nbytes)
        assert heeded <= 1.0
        assert ping * heeded == pytest.approx(data, abs=1e-9)
    assert spec.heeded(LinkBudget(node.modem), 6.0, nbytes) < 0.4  # where it matters, it is no detail


def test_hop_counts_fall_along_every_way_or_stay_equal_once(network) -> None:
    """Check 14 of section 9, in a network whose links come and go, with a flood every minute."""
    rng = np.random.default_rng(5)
    places = [(*rng.uniform(0, 1500, 2), rng.uniform(200, 2600)) for _ in range(14)]
    net = network(
        places, [(500, 500, 0), (1000, 1000, 0)], {"type": "carp", "hello_s": 60.0}, modem=QUIET, fading={"kind": "rayleigh"},
        shadowing={"sigma_db": 4.0, "correlation_s": 120.0}, duration_s=1200.0,
    )
    told: dict[tuple[int, int], list[int]] = {}
    levels = 0
    for node in net.nodes:
        def listen(frame, snr_db: float, node=node) -> None:
            nonlocal levels
            before = frame.packet is not None and frame.packet.key in node.state.forwarder.accepted
            net.spec.routing.on_receive(node, frame, snr_db)
            if frame.packet is None or frame.dst != node.id or before or frame.packet.key not in node.state.forwarder.accepted:
                return
            key = frame.packet.id
            way = [*told.get((frame.src, key), []), frame.body.hop_count]
            told[node.id, key] = way
            steps = np.diff(way)
            assert (steps <= 0).all()
            assert (steps == 0).sum() <= 1
            assert frame.body.level or not (steps == 0).any()
            levels += bool((steps == 0).any())

        net.medium.listen(node.id, listen)
    start_traffic(net)
    rows = finish(net)
    assert (rows[rows.kind == "send"].outcome == "delivered").mean() > 0.5
    assert max(len(way) for way in told.values()) >= 3
    assert levels > 0


def test_a_packet_that_comes_back_is_not_acknowledged_away(network) -> None:
    """Its hop count having fallen meanwhile, a node may be offered a packet that it handed on: nobody may lose custody by that."""
    net = chain(network, 2)
    net.world.env.run(until=60.0)
    spec, node = net.spec.routing, net.nodes[1]
    packet = net.tracker.create(0, 50)
    net.tracker.hold(packet)
    node.state.forwarder.accepted[packet.key] = 2

    def frame_of(hop_count: int) -> Frame:
        data = Data(1, 0, 1, hop_count, level=False)
        return Frame("data", 0, 1, DATA_BYTES + packet.nbytes, packet=packet, hops=1, body=data)

    spec.on_receive(node, frame_of(1), 20.0)
    assert not node.state.arriving
    assert packet.reason == "loop"
    spec.on_receive(node, frame_of(2), 20.0)  # a plain duplicate: its acknowledgement was lost
    assert node.state.arriving == {(0, 1): {0}}

