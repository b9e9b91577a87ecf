"""A still sea of which everything is known: the medium's laws are tested in it, not the weather's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from toolkit.acoustic.packets import Frame, PacketTracker
from toolkit.acoustic.phy.channel import Channel
from toolkit.acoustic.phy.fading import FastFading, Shadowing
from toolkit.acoustic.phy.medium import Medium
from toolkit.acoustic.phy.modem import Modem
from toolkit.core.world import World


class StillWater:
    """1500 m/s, spherical spreading without absorption, the same noise everywhere."""

    sound_speed_m_s = 1500.0

    def __init__(self, noise_db: float) -> None:
        self.noise_db = noise_db

    def loss_db(self, distance_m: np.ndarray, t_s: float) -> np.ndarray:
        return 20.0 * np.log10(np.maximum(distance_m, 1.0))

    def noise_psd_db(self, t_s: float, positions_m: np.ndarray) -> np.ndarray:
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
        def process():
            yield self.world.env.timeout(t_s - self.world.now)
            yield self.medium.transmit(node, Frame("data", node, dst, nbytes))

        self.world.env.process(process())

    def run(self) -> list[tuple[int, int]]:
        """Run to the end; return (sender, receiver) of every decoded frame, in order of time."""
        self.world.env.run(until=self.world.duration_s)
        self.medium.finish()
        return [(frame.src, node) for _, node, frame, _ in self.heard]


@pytest.fixture
def pool() -> Callable[..., Pool]:
    def build(positions_m: list, *, duration_s: float = 10.0, noise_db: float = 0.0, seed: int = 1, fading: FastFading | None = None,
              **modem_settings) -> Pool:
        settings = {"modulation": "threshold", "threshold_db": 8.0, "rate_bps": 10_000, "bandwidth_hz": 10_000, "preamble_s": 0.0}
        modem = Modem(**{**settings, **modem_settings})
        world = World(seed, duration_s)
        places = np.array(positions_m, dtype=float).reshape(-1, 3)
        count = len(places)
        shadowing = Shadowing(sigma_db=0.0).init(count, world.streams.rng("shadowing"))
        channel = Channel(StillWater(noise_db), modem, lambda t_s: places, shadowing)
        channel.advance(0.0)
        tracker = PacketTracker(world)
        result = Pool(world, channel, Medium(world, channel, modem, fading or FastFading(), tracker, count=count), modem, tracker)
        for node in range(count):
            result.medium.listen(
                node, lambda frame, snr_db, node=node: result.heard.append((world.now, node, frame, snr_db))
            )
        return result

    return build
