"""Traffic: when, where and how often messages are born."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from scipy import stats

from tests.acoustic.routing.conftest import network  # noqa: F401 - a fixture
from toolkit.acoustic.node import SeaContext
from toolkit.acoustic.traffic.event_driven import EventDriven
from toolkit.acoustic.traffic.poisson import Poisson
from toolkit.core.device import Device
from toolkit.core.program import Program
from toolkit.core.world import World
from toolkit.errors import ScenarioError
from toolkit.scenario import Scenario


@dataclass
class Places:
    """All that a context needs of a channel."""

    position_m: np.ndarray

    @property
    def region_m(self) -> tuple[np.ndarray, np.ndarray]:
        return self.position_m.min(axis=0), self.position_m.max(axis=0)


@dataclass
class Sea:
    """Nodes at fixed places, and what they send: (time, node, bytes)."""

    world: World
    channel: Places
    contexts: list[SeaContext] = field(default_factory=list)
    sent: list[tuple[float, int, int]] = field(default_factory=list)

    def run(self, program: Program) -> list[tuple[float, int]]:
        for ctx in self.contexts:
            self.world.env.process(program.run(ctx))
        self.world.env.run(until=self.world.duration_s)
        return [(t_s, node) for t_s, node, _ in self.sent]


def sea(positions_m: list, duration_s: float, seed: int = 1) -> Sea:
    world = World(seed, duration_s)
    result = Sea(world, Places(np.array(positions_m, dtype=float)))

    def send(src: int, dst: int, nbytes: int, phase: str):
        result.sent.append((world.now, src, nbytes))
        return world.env.event()

    result.contexts = [SeaContext(world, i, len(positions_m), Device(), send, channel=result.channel) for i in range(len(positions_m))]
    return result


def test_poisson_gaps_are_exponential_and_counts_are_poisson() -> None:
    water = sea([(i, 0, 0) for i in range(40)], 100_000.0)
    sent = water.run(Poisson(interval_s=200.0, nbytes=17))
    assert {nbytes for _, _, nbytes in water.sent} == {17}
    times_s = [np.array([t for t, node in sent if node == i]) for i in range(40)]
    gaps_s = np.concatenate([np.diff(t, prepend=0.0) for t in times_s])
    assert stats.kstest(gaps_s, "expon", args=(0, 200.0)).pvalue > 0.01
    counts = np.concatenate([np.histogram(t, bins=200, range=(0, 100_000))[0] for t in times_s])
    assert counts.mean() == pytest.approx(2.5, rel=0.03)
    assert counts.var() == pytest.approx(2.5, rel=0.05)
    first, second = (np.histogram(t, bins=200, range=(0, 100_000))[0] for t in times_s[:2])
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.2


def test_only_those_near_an_event_report_and_when_its_sound_has_come() -> None:
    """Three nodes in a row, 1.5 km apart, and two sinks that fix the box to a line: whoever is within reach of the same event sends."""
    water = sea([(0, 0, 0), (1500, 0, 0), (3000, 0, 0)], 400_000.0)
    program = EventDriven(interval_s=1000.0, radius_m=600.0, jitter_s=0.0)
    sent = water.run(program)
    events = water.contexts[0].shared_rng("events")
    expected = []
    t_s = 0.0
    while True:
        t_s += 1000.0 * events.standard_exponential()
        place_m = events.uniform(*water.contexts[0].region_m)
        if t_s > 400_000.0 - 1.0:
            break
        for node, x_m in enumerate((0, 1500, 3000)):
            if abs(place_m[0] - x_m) <= 600.0:
                expected.append((t_s + abs(place_m[0] - x_m) / 1500.0, node))
    assert [node for _, node in sent] == [node for _, node in sorted(expected)]
    assert [t for t, _ in sent] == pytest.approx([t for t, _ in sorted(expected)])
    # of the line, the end nodes cover 600 m each, the middle one 1200 m: 80 % in all
    assert len(sent) == pytest.approx(400 * 0.8, rel=0.15)


def test_neighbours_report_the_same_event_and_do_so_repeatedly() -> None:
    water = sea([(0, 0, 0), (10, 0, 0)], 200_000.0)
    sent = water.run(EventDriven(interval_s=10_000.0, radius_m=50.0, reports=3, every_s=60.0, jitter_s=2.0))
    mine, other = ([t for t, node in sent if node == i] for i in range(2))
    assert len(mine) == len(other) > 30
    assert np.abs(np.array(mine) - np.array(other)).max() <= 2.0 + 0.01
    assert np.diff(np.array(mine[: len(mine) // 3 * 3]).reshape(-1, 3), axis=1) == pytest.approx(60.0, abs=2.0)


def test_overlapping_events_lose_no_report() -> None:
    water = sea([(0, 0, 0), (10, 0, 0)], 50_000.0)
    sent = water.run(EventDriven(interval_s=100.0, radius_m=50.0, reports=10, every_s=60.0))
    assert [t for t, _ in sent] == sorted(t for t, _ in sent)
    assert len(sent) == pytest.approx(2 * 10 * 500, rel=0.15)


def test_who_moves_is_where_it_is_when_it_happens() -> None:
    water = sea([(0, 0, 0), (1000, 0, 0)], 10_000.0)

    def leave():
        yield water.world.env.timeout(5000.0)
        water.channel.position_m = water.channel.position_m + np.array([0, 1e6, 0])

    water.world.env.process(leave())
    sent = water.run(EventDriven(interval_s=20.0, radius_m=400.0, jitter_s=0.0))
    assert len(sent) > 50
    assert max(t for t, _ in sent) < 5001.0


def test_events_need_places() -> None:
    base = {"name": "x", "program": {"type": "event_driven"}, "fabric": {"type": "cluster"}}
    scenario = Scenario.build(base)
    with pytest.raises(ScenarioError, match="event_driven needs nodes that have a place"):
        scenario.program.check(scenario.fabric)


@pytest.mark.parametrize("name", ["periodic", "poisson", "event_driven"])
def test_traffic_does_not_depend_on_routing(network, name: str) -> None:  # noqa: F811
    """Two arms of a seed are asked to carry the same messages."""
    born = []
    for routing in ("flooding", "dbr"):
        net = network([(0, 0, 500), (200, 0, 300), (0, 200, 250)], [(0, 0, 0)], routing, duration_s=900.0)
        program = Program.find(name)(interval_s=60.0)
        for ctx in net.contexts:
            net.world.env.process(program.run(ctx))
        net.world.env.run(until=900.0)
        born.append([(packet.src, packet.created_s) for packet in net.tracker.packets])
    assert born[0] == born[1]
    assert len(born[0]) > 15
