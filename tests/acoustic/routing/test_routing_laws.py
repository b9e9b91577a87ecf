"""What every routing protocol keeps: packets are conserved, loops end, the same seed gives the same run."""

from __future__ import annotations

import pytest

from tests.acoustic.routing.conftest import finish, start_traffic
from toolkit.acoustic.routing import Routing

SETTINGS = {"dbcar": {"prediction": "persistence", "beacon_s": 60.0}}
NAMES = sorted(Routing.members())
COLUMN = [(0, 0, 900), (250, 60, 620), (60, 250, 380), (200, 120, 180), (400, 300, 500), (100, 420, 760)]
SINKS = [(120, 120, 0), (350, 250, 0)]


def spec(name: str) -> dict:
    return {"type": name, **SETTINGS.get(name, {})}


@pytest.mark.parametrize("name", NAMES)
def test_packets_are_conserved(network, name: str) -> None:
    net = network(COLUMN, SINKS, spec(name), shadowing={"sigma_db": 4.0}, modem={"profile": "evologics_like", "source_level_db": 128})
    start_traffic(net)
    rows = finish(net)
    sends = rows[rows.kind == "send"]
    assert len(sends) == len(net.book.packets) == sends.packet.nunique() > 40
    assert set(sends.outcome) <= {"delivered", "lost", "in_flight"}
    assert (sends.dur_s >= 0).all()
    assert all(packet.copies >= 0 for packet in net.book.packets)
    lost = sends[sends.outcome == "lost"]
    assert (lost.phase != "").all(), "a lost packet has a reason"
    in_flight = {packet.id for packet in net.book.packets if packet.copies > 0 and not packet.delivered}
    assert set(sends[sends.outcome == "in_flight"].packet) == in_flight


@pytest.mark.parametrize("name", NAMES)
def test_good_links_deliver_everything(network, name: str) -> None:
    net = network(COLUMN, SINKS, spec(name), duration_s=900.0)
    start_traffic(net)
    sends = finish(net).query("kind == 'send' and t0_s < 800")
    assert (sends.outcome == "delivered").mean() > 0.93


@pytest.mark.parametrize("name", NAMES)
def test_states_of_every_node_fill_the_run(network, name: str) -> None:
    net = network(COLUMN, SINKS, spec(name))
    start_traffic(net)
    rows = finish(net)
    radio = rows[rows.kind.isin(["tx", "rx", "idle"])]
    for _, own in radio.groupby("node"):
        assert own.dur_s.sum() == pytest.approx(600.0, abs=1e-6)
        assert (own.dur_s >= 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_run(network, name: str) -> None:
    runs = []
    for _ in range(2):
        net = network(COLUMN, SINKS, spec(name), fading={"kind": "rayleigh"})
        start_traffic(net)
        runs.append(finish(net))
    assert runs[0].equals(runs[1])


def test_protocols_meet_the_same_channel(network) -> None:
    """Check 21: the channel trace depends on the seed alone, not on what is sent in it."""
    fingerprints = set()
    for name in NAMES:
        net = network(COLUMN, SINKS, spec(name), shadowing={"sigma_db": 3.0})
        start_traffic(net)
        finish(net)
        fingerprints.add(net.channel.fingerprint)
    assert len(fingerprints) == 1


def test_delay_is_at_least_the_way_of_the_sound(network) -> None:
    """Check 9: no packet arrives before distance / c."""
    for name in NAMES:
        net = network([(0, 0, 900)], [(0, 0, 0)], spec(name))
        start_traffic(net)
        sends = finish(net).query("kind == 'send' and outcome == 'delivered'")
        assert len(sends) >= 9
        assert sends.dur_s.min() > 900.0 / net.water.sound_speed_m_s
