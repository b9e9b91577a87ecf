"""What every routing protocol keeps: packets are conserved, loops end, the same seed gives the same run."""

from __future__ import annotations

import numpy as np
import pytest

from tests.acoustic.routing.conftest import finish, settings, start_traffic
from toolkit.acoustic.routing import Routing
from toolkit.errors import UserError
from toolkit.scenario import Scenario

NAMES = sorted(Routing.members())
COLUMN = [(0, 0, 900), (250, 60, 620), (60, 250, 380), (200, 120, 180), (400, 300, 500), (100, 420, 760)]
SINKS = [(120, 120, 0), (350, 250, 0)]


@pytest.mark.parametrize("name", NAMES)
def test_packets_are_conserved(network, name: str) -> None:
    net = network(COLUMN, SINKS, settings(name), shadowing={"sigma_db": 4.0}, modem={"profile": "evologics_like", "source_level_db": 128})
    start_traffic(net)
    rows = finish(net)
    sends = rows[rows.kind == "send"]
    assert len(sends) == len(net.tracker.packets) == sends.packet.nunique() > 40
    assert set(sends.outcome) <= {"delivered", "lost", "in_flight"}
    assert (sends.dur_s >= 0).all()
    assert all(packet.copies >= 0 for packet in net.tracker.packets)
    lost = sends[sends.outcome == "lost"]
    assert (lost.phase != "").all(), "a lost packet has a reason"
    in_flight = {packet.id for packet in net.tracker.packets if packet.copies > 0 and not packet.delivered}
    assert set(sends[sends.outcome == "in_flight"].packet) == in_flight


@pytest.mark.parametrize("name", NAMES)
def test_good_links_deliver_everything(network, name: str) -> None:
    net = network(COLUMN, SINKS, settings(name), duration_s=900.0)
    start_traffic(net)
    sends = finish(net).query("kind == 'send' and t0_s < 800")
    assert (sends.outcome == "delivered").mean() > 0.93


@pytest.mark.parametrize("name", NAMES)
def test_a_network_without_a_past_begins_to_talk(network, name: str) -> None:
    net = network(COLUMN, SINKS, settings(name), history_s=0.0, probe={"links": 4})
    start_traffic(net)
    assert (finish(net).query("kind == 'send'").outcome == "delivered").any()


@pytest.mark.parametrize("name", NAMES)
def test_states_of_every_node_fill_the_run(network, name: str) -> None:
    net = network(COLUMN, SINKS, settings(name))
    start_traffic(net)
    rows = finish(net)
    mac = rows[rows.kind.isin(["tx", "rx", "idle"])]
    for _, own in mac.groupby("node"):
        assert own.dur_s.sum() == pytest.approx(600.0, abs=1e-6)
        assert (own.dur_s >= 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_run(network, name: str) -> None:
    runs = []
    for _ in range(2):
        net = network(COLUMN, SINKS, settings(name), fading={"kind": "rayleigh"})
        start_traffic(net)
        runs.append(finish(net))
    assert runs[0].equals(runs[1])


def test_protocols_meet_the_same_channel(network) -> None:
    """Check 21 of section 9: the channel trace depends on the seed alone, not on what is sent in it."""
    fingerprints = set()
    for name in NAMES:
        net = network(COLUMN, SINKS, settings(name), shadowing={"sigma_db": 3.0})
        start_traffic(net)
        finish(net)
        fingerprints.add(net.channel.fingerprint)
    assert len(fingerprints) == 1


def test_delay_is_at_least_the_way_of_the_sound(network) -> None:
    """Check 9 of section 9: no packet arrives before distance / c."""
    for name in NAMES:
        net = network([(0, 0, 900)], [(0, 0, 0)], settings(name))
        start_traffic(net)
        sends = finish(net).query("kind == 'send' and outcome == 'delivered'")
        assert len(sends) >= 9
        assert sends.dur_s.min() > 900.0 / net.water.sound_speed_m_s


@pytest.mark.parametrize("name", sorted({*NAMES} - {"flooding"}))  # which asks nobody whether he can
def test_a_packet_that_nobody_can_carry_on_is_lost_for_a_reason(network, name: str) -> None:
    """The only neighbour is deeper, and no sink is in reach."""
    net = network([(0, 0, 1000), (300, 0, 1400)], [(0, 60_000, 0)], settings(name, lifetime_s=200.0))
    net.send(0, -1, 64, "data")
    sends = finish(net).query("kind == 'send'")
    assert sends.outcome.item() == "lost"
    assert sends.phase.item() == "void"


@pytest.mark.parametrize("name", NAMES)
def test_no_packet_circles_and_sinks_never_forward(network, name: str) -> None:
    """A node takes a packet into its care once: all its frames of it have travelled equally far, and no farther than there are nodes."""
    rng = np.random.default_rng(3)
    places = [(*rng.uniform(0, 1200, 2), rng.uniform(100, 1500)) for _ in range(12)]
    net = network(
        places, [(300, 300, 0), (900, 900, 0)], settings(name, hello_s=100.0), fading={"kind": "rayleigh"},
        shadowing={"sigma_db": 4.0, "correlation_s": 60.0}, modem={"profile": "evologics_like", "source_level_db": 134},
    )
    hops: dict[tuple[int, int], set[int]] = {}
    for node in net.nodes:
        def spy(frame, node=node, send=node.send_frame):
            if frame.packet is not None:
                assert not node.is_sink
                hops.setdefault((node.id, frame.packet.id), set()).add(frame.hops)
            return send(frame)

        node.send_frame = spy
    start_traffic(net)
    rows = finish(net)
    data = rows[(rows.kind == "tx") & (rows.phase == "data")]
    assert data.node.max() < len(places)
    assert all(len(own) == 1 for own in hops.values())
    assert all(1 <= hop <= len(places) for own in hops.values() for hop in own)
    assert max(hop for own in hops.values() for hop in own) > 1


BOUNDED = [
    (name, field, getattr(bound, side), sign)
    for name in NAMES
    for field, info in Routing.members()[name].model_fields.items()
    for bound in info.metadata
    for side, sign in (("ge", -1), ("gt", -1), ("le", 1), ("lt", 1))
    if hasattr(bound, side)
]


@pytest.mark.parametrize(("name", "field", "bound", "sign"), BOUNDED)
def test_a_setting_out_of_bounds_gets_one_sentence(name: str, field: str, bound: float, sign: int) -> None:
    with pytest.raises(UserError) as error:
        Scenario.build(scenario(settings(name, **{field: bound + sign})))
    message = str(error.value)
    assert f"fabric.routing.{field}" in message
    assert str(bound + sign) in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_setting_gets_one_sentence(name: str) -> None:
    with pytest.raises(UserError, match=r"^.*fabric\.routing: unknown key 'rangem'[^\n]*$"):
        Scenario.build(scenario({**settings(name), "rangem": 5.0}))


def scenario(routing: dict) -> dict:
    return {
        "name": "small", "duration_s": 60.0, "program": {"type": "periodic", "interval_s": 60.0},
        "fabric": {"type": "acoustic", "sea": {}, "routing": routing},
    }
