"""The bound of all protocols: small channels by hand, and what holds of every run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import toolkit
from toolkit.acoustic.packets import Packet, PacketTracker
from toolkit.acoustic.phy.fading import FastFading
from toolkit.acoustic.phy.modem import Modem
from toolkit.acoustic.reach import Bound, Reach, Reachability
from toolkit.acoustic.routing.neighbours import LinkBudget
from toolkit.core.world import World
from toolkit.scenario import Scenario

BUDGET = LinkBudget(Modem(), FastFading(kind="rician", k_db=10))
DEPTH_M = np.array([300.0, 200.0, 400.0, 0.0])
"""Three nodes, of which the last is the deepest, and a sink."""
UP, ANY = Bound(0.5, True), Bound(0.5, False)


def links(*pairs: tuple[int, int], level: float = 0.6) -> np.ndarray:
    """SNR in dB of a channel in which only *pairs* (from, to) are heard, with a success of *level*."""
    snr_db = np.full((4, 4), -40.0)
    for sender, receiver in pairs:
        snr_db[sender, receiver] = BUDGET.snr_db_for(level, 512)
    return snr_db


def packet_of(src: int, created_s: float) -> Packet:
    world = World(1, 1e5)
    tracker = PacketTracker(world)
    packet = tracker.create(src, 64)
    packet.created_s = created_s
    return packet


def found(epochs: list[np.ndarray], packets: list[Packet], lifetime_s: float = 1800.0) -> dict[Bound, int]:
    reach = Reachability(Reach(lifetime_s=lifetime_s, successes=[0.5]), BUDGET, range(3, 4), 4, 1e9)
    for index, snr_db in enumerate(epochs):
        end_s = 100.0 * (index + 1)
        reach.pass_epoch([packet for packet in packets if packet.created_s < end_s], snr_db, DEPTH_M, end_s)
    return reach.delivered


def test_a_chain_within_one_epoch() -> None:
    assert found([links((0, 1), (1, 3))], [packet_of(0, 5.0)]) == {ANY: 1, UP: 1}


def test_links_must_come_in_the_order_of_time() -> None:
    """First the hop to node 1, later the one from there: that works. The other way round nobody can carry it."""
    first, second = links((0, 1)), links((1, 3))
    assert found([first, second], [packet_of(0, 5.0)]) == {ANY: 1, UP: 1}
    assert found([second, first], [packet_of(0, 5.0)]) == {ANY: 0, UP: 0}


def test_a_way_down_is_no_upward_way() -> None:
    assert found([links((0, 2), (2, 3))], [packet_of(0, 5.0)]) == {ANY: 1, UP: 0}


def test_packets_end_with_their_life_and_do_not_start_before_it() -> None:
    dead, good = links(), links((0, 3))
    assert found([good, dead, dead], [packet_of(0, 150.0)])[ANY] == 0
    assert found([dead, dead, dead, good], [packet_of(0, 50.0)], lifetime_s=200.0)[ANY] == 0
    assert found([dead, dead, good], [packet_of(0, 50.0)], lifetime_s=200.0)[ANY] == 1


def test_poorer_hops_do_not_count() -> None:
    assert found([links((0, 3), level=0.4)], [packet_of(0, 5.0)])[ANY] == 0


def test_sinks_relay_nothing() -> None:
    reach = Reachability(Reach(successes=[0.5]), BUDGET, range(2, 4), 4, 1e9)
    reach.pass_epoch([packet_of(0, 5.0)], links((0, 1)), np.array([300.0, 200.0, 0.0, 0.0]), 100.0)
    assert reach.delivered[ANY] == 0


@pytest.mark.slow
def test_bounds_are_ordered_and_the_same_for_every_protocol(tmp_path: Path) -> None:
    """More hops allowed, more delivered; they are of channel and traffic alone, whatever the protocol does."""
    file = Path(__file__).parents[2] / "scenarios" / "routing_protocols.yaml"
    report = toolkit.run(Scenario.load(file, quick=True), out=tmp_path / "run").report
    bounds = report[report["metric"].str.startswith("reachable_")].pivot(index=["arm", "seed"], columns="metric", values="value")
    assert (bounds.groupby("seed").nunique() == 1).all(axis=None)
    for high, low in (("any@0.2", "any@0.5"), ("up@0.2", "up@0.5"), ("any@0.2", "up@0.2"), ("any@0.5", "up@0.5")):
        assert (bounds[f"reachable_{high}"] >= bounds[f"reachable_{low}"]).all()
