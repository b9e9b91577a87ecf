"""A still sea of which everything is known: what is heard in it can be worked out by hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from toolkit.acoustic.mac import Mac
from toolkit.acoustic.node import MacInterface
from toolkit.acoustic.packets import Frame, PacketTracker
from toolkit.acoustic.phy.channel import Channel
from toolkit.acoustic.phy.fading import FastFading, Shadowing
from toolkit.acoustic.phy.medium import Medium
from toolkit.acoustic.phy.modem import Modem
from toolkit.core.device import Device
from toolkit.core.simulated import SimulatedContext
from toolkit.core.world import World

Floats = NDArray[np.float64]
Place = tuple[float, float, float]


class StillWater:
    """1500 m/s, spherical spreading without absorption, the same noise everywhere."""

    sound_speed_m_s = 1500.0

    def __init__(self, noise_db: float) -> None:
        self.noise_db = noise_db

    def loss_db(self, distance_m: Floats, t_s: float) -> Floats:
        loss: Floats = 20.0 * np.log10(np.maximum(distance_m, 1.0))
        return loss

    def noise_psd_db(self, t_s: float, positions_m: Floats) -> Floats:
        return np.full(len(positions_m), self.noise_db)


@dataclass
class Pool:
    """A medium with nodes at fixed places; `heard` collects (time, receiver, frame, snr)."""

    world: World
    channel: Channel
    medium: Medium
    modem: Modem
    tracker: PacketTracker
    heard: list[tuple[float, int, Frame, float]] = field(default_factory=list)

    def send_at(self, t_s: float, node: int, nbytes: int = 50, dst: int = -1) -> None:
        """Let *node* send a frame at a time."""

        def process() -> Iterator[Any]:
            yield self.world.env.timeout(t_s - self.world.now)
            yield self.medium.transmit(node, Frame("data", node, dst, nbytes))

        self.world.env.process(process())  # type: ignore[arg-type]

    def run(self) -> list[tuple[int, int]]:
        """Run to the end; return (sender, receiver) of every decoded frame, in order of time."""
        self.world.env.run(until=self.world.duration_s)
        self.medium.finish()
        return [(frame.src, node) for _, node, frame, _ in self.heard]


def pool(
    positions_m: Sequence[Place], *, duration_s: float = 10.0, noise_db: float = 0.0, seed: int = 1, fading: FastFading | None = None,
    **modem_settings: Any,
) -> Pool:
    """Return a pool with nodes at these places; what a frame needs is a threshold, unless the modem's settings say otherwise."""
    settings = {"modulation": "threshold", "threshold_db": 8.0, "rate_bps": 10_000, "bandwidth_hz": 10_000, "preamble_s": 0.0}
    modem = Modem.model_validate({**settings, **modem_settings})
    world = World(seed, duration_s)
    places = np.array(positions_m, dtype=float).reshape(-1, 3)
    count = len(places)
    shadowing = Shadowing(sigma_db=0.0).init(count, world.streams.rng("shadowing"))
    channel = Channel(StillWater(noise_db), modem, lambda t_s: places, shadowing)
    channel.advance(0.0)
    tracker = PacketTracker(world)
    result = Pool(world, channel, Medium(world, channel, modem, fading or FastFading(), tracker, count=count), modem, tracker)

    def listening(node: int) -> None:
        result.medium.listen(node, lambda frame, snr_db: result.heard.append((world.now, node, frame, snr_db)))

    for node in range(count):
        listening(node)
    return result


@dataclass
class Cell:
    """A pool whose nodes run one MAC; `drops` collects (frame, reason)."""

    pool: Pool
    interfaces: list[MacInterface]
    drops: list[tuple[Frame, str]] = field(default_factory=list)

    def offer(self, arrivals: Iterable[tuple[float, Frame]]) -> list[Frame]:
        """Hand frames to their senders' queues at the given times, in order."""
        frames: list[Frame] = []

        def process() -> Iterator[Any]:
            for t_s, frame in arrivals:
                yield self.pool.world.env.timeout(t_s - self.pool.world.now)
                frames.append(frame)
                self.interfaces[frame.src].enqueue(frame)

        self.pool.world.env.process(process())  # type: ignore[arg-type]
        return frames


def cell(mac: Mac, positions_m: Sequence[Place], **settings: Any) -> Cell:
    """Return a pool (with *settings*) whose nodes run *mac*."""
    sea = pool(positions_m, **settings)
    count = len(positions_m)
    drops: list[tuple[Frame, str]] = []

    def no_route(*_: object) -> NoReturn:
        raise AssertionError("a MAC sends no packets of its own")

    def dropped(frame: Frame, reason: str) -> None:
        drops.append((frame, reason))

    interfaces = [
        MacInterface(node, SimulatedContext(sea.world, node, count, Device(), no_route), sea.medium, mac.queue_limit, dropped)
        for node in range(count)
    ]
    for interface in interfaces:
        mac.serve(interface)
    return Cell(sea, interfaces, drops)
