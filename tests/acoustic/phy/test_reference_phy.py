"""The physical layer against a naive account of it: every arrival, every interferer, plain Python, none of the medium's code."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest
from simpy.events import Event

from toolkit.acoustic.mac import Mac
from toolkit.acoustic.packets import Frame
from toolkit.acoustic.phy import kernel
from toolkit.core.world import World
from toolkit.scenario import Scenario

DURATION_S = 150.0
COLUMNS = ["t0_s", "dur_s", "node", "peer", "nbytes", "outcome"]


class Sent(NamedTuple):
    """One transmission, and what the channel made of it: when and how strongly it comes to each node."""

    begin_s: float
    dur_s: float
    src: int
    nbytes: int
    delay_s: list[float]
    power: list[float]


class Arrival(NamedTuple):
    begin_s: float
    end_s: float
    power: float
    frame: int


class Reference:
    """Who receives what, worked out from the list of all transmissions of a finished run. Noise is the same throughout."""

    def __init__(self, network, sent: list[Sent], world: World, interference: str) -> None:
        modem = network.spec.modem
        self.sent, self.modem, self.interference = sent, modem, interference
        self.noise = network.channel.noise.tolist()
        self.detect, self.capture = (10 ** (level_db / 10) for level_db in (modem.detection_snr_db, modem.capture_db))
        self.rate = modem.success_table().rate
        draws = world.streams.shared("decode")
        self.draws = (float(x) for _ in itertools.count() for x in draws.random(1024)[::-1])

    def arrivals(self, node: int) -> list[Arrival]:
        return [
            Arrival(s.begin_s + s.delay_s[node], s.begin_s + s.delay_s[node] + s.dur_s, s.power[node], k)
            for k, s in enumerate(self.sent) if s.src != node
        ]

    def others(self, arrivals: list[Arrival], wanted: Arrival) -> list[Arrival]:
        """What can disturb an arrival: all that comes from another sender."""
        return [a for a in arrivals if self.sent[a.frame].src != self.sent[wanted.frame].src]

    def listen(self, node: int) -> dict[int, tuple[float, str]]:
        """How long *node* listens to every frame whose preamble it could detect in silence, and why not to its end ("" if it does)."""
        arrivals = self.arrivals(node)
        own = [(s.begin_s, s.begin_s + s.dur_s) for s in self.sent if s.src == node]
        heard: dict[int, tuple[float, str]] = {}
        current: Arrival | None = None
        until_s = -math.inf
        for new in sorted(arrivals):
            if new.power < self.detect * self.noise[node]:
                continue
            others = sum(a.power for a in self.others(arrivals, new) if a.begin_s <= new.begin_s < a.end_s)
            receiving = current is not None and until_s > new.begin_s and self.sent[current.frame].src != self.sent[new.frame].src
            if any(begin_s <= new.begin_s < end_s for begin_s, end_s in own):
                heard[new.frame] = (0.0, "half_duplex")
            elif (receiving and new.power < self.capture * current.power) or new.power < self.detect * (self.noise[node] + others):
                heard[new.frame] = (0.0, "collision")
            else:
                if receiving:
                    heard[current.frame] = (new.begin_s - current.begin_s, "collision")
                stop_s = min((begin_s for begin_s, _ in own if new.begin_s < begin_s < new.end_s), default=new.end_s)
                heard[new.frame] = (stop_s - new.begin_s, "half_duplex" if stop_s < new.end_s else "")
                current, until_s = new, stop_s
        return heard

    def decode(self, node: int, frame: int) -> str:
        """What becomes of a frame that was received to its end."""
        arrivals = self.arrivals(node)
        wanted = next(a for a in arrivals if a.frame == frame)
        others = [
            a for a in self.others(arrivals, wanted) if a.begin_s < wanted.end_s and a.end_s > wanted.begin_s and a.power > 0
        ]
        bits = 8 * self.sent[frame].nbytes
        edges = {wanted.begin_s, wanted.end_s}
        edges |= {t_s for a in others for t_s in (a.begin_s, a.end_s) if wanted.begin_s < t_s < wanted.end_s}
        pieces = []
        for begin_s, end_s in itertools.pairwise(sorted(edges)):
            share = (end_s - begin_s) / (wanted.end_s - wanted.begin_s)
            pieces.append((share, sum(a.power for a in others if a.begin_s <= begin_s < a.end_s)))
        mean = sum(share * power for share, power in pieces)
        if self.interference == "mean":
            pieces = [(1.0, mean)]
        loss = sum(share * bits * self.bit_loss(wanted.power / (self.noise[node] + power)) for share, power in pieces)
        draw = next(self.draws)
        if draw < math.exp(-loss):
            return "delivered"
        alone = bits * self.bit_loss(wanted.power / self.noise[node])
        return "collision" if mean > 0 and draw < math.exp(-alone) else "noise"

    def bit_loss(self, snr: float) -> float:
        return float(self.rate(self.modem.ebn0_db(10 * math.log10(snr))))

    def rows(self, count: int, medium: list[tuple]) -> list[tuple[float, float, int, int, int, str]]:
        """The ledger's rows of all receptions that ended within the run, in the order of their ends.

        Two that end at the same instant (in slots, two nodes often send to each other at once) have no order of their own; they are
        taken, and given their draws, in the order of the *medium*'s rows.
        """
        place = {(round(row[0], 6), row[2], row[3]): i for i, row in enumerate(medium)}
        found = []
        for node in range(count):
            for k, (listened_s, why_not) in self.listen(node).items():
                s = self.sent[k]
                begin_s = s.begin_s + s.delay_s[node]
                order = place.get((round(begin_s, 6), node, s.src), -1)
                found.append((round(begin_s + s.dur_s, 9), order, begin_s, listened_s, node, k, why_not))
        return [
            (begin_s, listened_s, node, self.sent[k].src, self.sent[k].nbytes, why_not or self.decode(node, k))
            for end_s, _, begin_s, listened_s, node, k, why_not in sorted(found) if end_s < DURATION_S
        ]


def scenario(seed: int) -> Scenario:
    """A small random network: places, motion, fading, modem, MAC and load are drawn; all MACs have their turn."""
    rng = np.random.default_rng(seed)
    modulation = ["bpsk", "threshold", "fsk_noncoherent", "bpsk", "dpsk"][seed % 5]
    side_m = float(rng.uniform(600, 2500))
    mac = Mac.member_names()[seed % len(Mac.member_names())]
    return Scenario.build({
        "name": "reference", "seeds": 1, "duration_s": DURATION_S,
        "fabric": {
            "type": "acoustic",
            "layout": {"nodes": int(rng.integers(4, 9)), "sinks": 2, "width_m": side_m, "length_m": side_m, "depth_m": 400},
            "modem": {
                "source_level_db": 136, "modulation": modulation, "rate_bps": float(rng.choice([2400, 4800, 10_000])),
                "preamble_s": float(rng.choice([0.0, 0.05])), "capture_db": float(rng.choice([3, 6, 10])),
                "detection_snr_db": float(rng.choice([-3, 0, 5])),
            },
            "sea": {"wind": {"type": "steady_wind"}, "tide": {"type": "still_tide"}},
            "mobility": {"type": "random_walk", "speed_m_s": [1.0, 4.0], "leg_s": 30}, "epoch_s": 15,
            "shadowing": {"sigma_db": 3, "correlation_s": 60},
            "fading": {"kind": ["rician", "rayleigh"][seed % 2]}, "interference": ["piecewise", "mean"][seed // 2 % 2],
            "mac": {"type": mac, **({"range_m": 4000.0} if mac in ("sfama", "tdma") else {})},
            "routing": {"type": ["flooding", "dbr"][seed // 3 % 2]}, "history_s": 1800, "probe": {"links": 0}, "drain_s": 10,
        },
        "program": {"type": "poisson", "interval_s": float(rng.uniform(10, 40)), "nbytes": int(rng.integers(20, 200))},
    })


def delays(network, node: int, t_s: float) -> list[float]:
    """From *node* to everybody: on the straight line between what the places at both ends of the epoch give."""
    epoch_s = network.spec.epoch_s
    ends_s = [epoch_s * (t_s // epoch_s), min(epoch_s * (t_s // epoch_s) + epoch_s, DURATION_S)]
    ways_m = []
    for end_s in ends_s:
        place_m = network.channel._move(end_s)
        ways_m.append(np.sqrt(((place_m - place_m[node]) ** 2).sum(axis=1)))
    share = (t_s - ends_s[0]) / (ends_s[1] - ends_s[0])
    return ((ways_m[0] + share * (ways_m[1] - ways_m[0])) / network.channel.sound_speed_m_s).tolist()


def simulate(spec: Scenario, seed: int, *, compiled: bool):
    """Run a scenario; return network, world, and all that was sent."""
    world = World(seed, DURATION_S)
    network = spec.fabric.build(world)
    medium, sent = network.medium, []
    medium.use(kernel.compiled() if compiled else kernel.PLAIN)
    begin = medium.begin

    def monitor(node: int, frame: Frame):
        dur_s = begin(node, frame)
        channel, room = network.channel, medium._keeper.room
        fades = room.fades[(room.state["next"][0] - 1) % len(room.fades)]
        sent.append(Sent(
            world.now, dur_s, node, frame.nbytes,
            delays(network, node, world.now), (channel.power[node] * fades).tolist(),
        ))
        return dur_s

    medium.begin = monitor
    network.launch(spec.program)
    world.env.run(until=DURATION_S)
    network.finish()
    return network, world, sent


def receptions(network, world: World) -> list[tuple]:
    rows = world.ledger.charges()
    rows = rows[rows.kind == "rx"]
    ended = rows.t0_s + network.spec.modem.frame_s(rows.nbytes) < DURATION_S
    return list(rows[ended][COLUMNS].itertuples(index=False, name=None))


@pytest.mark.parametrize("seed", range(20))
def test_the_same_frames_decode(seed: int) -> None:
    """With motion and fading, plain and compiled: the same receptions, for the same time, with the same outcome, in the same order."""
    spec = scenario(seed)
    plain, compiled = (simulate(spec, seed, compiled=compiled) for compiled in (False, True))
    assert plain[1].ledger.charges().equals(compiled[1].ledger.charges())
    network, world, sent = plain
    found = receptions(network, world)
    expected = Reference(network, sent, world, spec.fabric.interference).rows(network.count, found)
    assert [row[2:] for row in found] == [row[2:] for row in expected]
    assert np.array([row[:2] for row in found]) == pytest.approx(np.array([row[:2] for row in expected]), abs=1e-9)
    assert len({frozenset(s.delay_s) for s in sent}) > 1, "the nodes move"
    assert sum(row[-1] == "delivered" for row in found) > 5


def test_all_that_can_happen_happens_in_these_networks() -> None:
    """The comparison above would be worth little if nothing collided, nobody was deaf, and no stronger frame ever took a receiver."""
    outcomes: dict[str, int] = {}
    cut_short = 0
    for seed in range(20):
        network, world, _ = simulate(scenario(seed), seed, compiled=True)
        for _, dur_s, _, _, nbytes, outcome in receptions(network, world):
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
            cut_short += outcome == "collision" and 0 < dur_s < network.spec.modem.frame_s(nbytes) - 1e-6
    assert min(outcomes[name] for name in ("delivered", "noise", "collision", "half_duplex")) > 50
    assert cut_short > 20


def test_no_frame_overtakes_another_of_its_sender() -> None:
    """Nodes at 5 m/s and epochs of 60 s: positions that jump by 300 m would let a frame arrive before one sent 0.15 s earlier."""
    spec = Scenario.build({
        "name": "order", "seeds": 1, "duration_s": DURATION_S,
        "fabric": {
            "type": "acoustic", "layout": {"positions_m": [[x, 0, 50] for x in (0, 400, 800, 1200)], "sinks": 1, "depth_m": 100},
            "modem": {"source_level_db": 170, "rate_bps": 20_000}, "mobility": {"type": "random_walk", "speed_m_s": [5, 5], "leg_s": 600,
            "width_m": 3000, "length_m": 3000}, "sea": {"wind": {"type": "steady_wind"}}, "epoch_s": 60, "routing": {"type": "flooding"},
            "shadowing": {"sigma_db": 0}, "mac": "aloha", "history_s": 1800, "probe": {"links": 0}, "drain_s": 10,
        },
        "program": {"type": "poisson", "interval_s": 1e9, "nbytes": 20},
    })
    world = World(2, DURATION_S)
    network = spec.fabric.build(world)
    order: dict[tuple[int, int], list[int]] = {}
    for node in range(network.count):
        network.medium.listen(node, lambda frame, snr_db, node=node: order.setdefault((frame.src, node), []).append(frame.hops))

    def chatter(node: int):
        yield world.env.timeout(59.0)
        for number in range(20):
            network.medium.transmit(node, Frame("data", node, -1, 20, hops=number))
            yield world.env.timeout(0.15)

    for node in range(network.count):
        world.env.process(chatter(node))
    world.env.run(until=DURATION_S)
    assert sum(map(len, order.values())) > 50
    assert all(numbers == sorted(numbers) for numbers in order.values())


def test_frames_sent_one_after_the_other_do_not_collide_when_their_sender_draws_near() -> None:
    """The second begins to arrive some microseconds before the first is over, as delays shrink; a modem hears both."""
    spec = Scenario.build({
        "name": "near", "seeds": 1, "duration_s": 60.0,
        "fabric": {
            "type": "acoustic", "layout": {"positions_m": [[0, 0, 50], [900, 0, 50]], "sinks": 1, "depth_m": 100},
            "modem": {"source_level_db": 170}, "mobility": {"type": "random_walk", "speed_m_s": [2, 2], "leg_s": 600},
            "shadowing": {"sigma_db": 0}, "fading": {"kind": "none"}, "epoch_s": 60, "mac": "aloha", "history_s": 0, "probe": {"links": 0},
            "sea": {"wind": "steady_wind", "tide": "still_tide"}, "routing": "flooding", "drain_s": 10,
        },
        "program": {"type": "periodic", "interval_s": 1e6},
    })
    for seed in range(6):  # some draw near, some apart
        world = World(seed, 60.0)
        network = spec.fabric.build(world)

        def burst(network=network) -> Iterator[Event]:
            for number in range(20):
                yield network.medium.transmit(0, Frame("data", 0, 1, 60 + number))

        world.env.process(burst())
        world.env.run(until=60.0)
        heard = world.ledger.charges().query("kind == 'rx' and node == 1")
        assert heard.outcome.tolist() == ["delivered"] * 20, seed
