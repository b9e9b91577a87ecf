"""Modems with a MAC around a medium of which everything is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pytest

from tests.acoustic.conftest import Pool
from toolkit.acoustic.mac import Mac
from toolkit.acoustic.node import MacInterface
from toolkit.acoustic.packets import Frame
from toolkit.core.context import SimulatedContext
from toolkit.core.device import Device


@dataclass
class Cell:
    """A pool whose nodes run one MAC; `drops` collects (frame, reason)."""

    pool: Pool
    interfaces: list[MacInterface]
    drops: list[tuple[Frame, str]] = field(default_factory=list)

    def offer(self, arrivals: Iterable[tuple[float, Frame]]) -> list[Frame]:
        """Hand frames to their senders' queues at the given times, in order."""
        frames: list[Frame] = []

        def process():
            for t_s, frame in arrivals:
                yield self.pool.world.env.timeout(t_s - self.pool.world.now)
                frames.append(frame)
                self.interfaces[frame.src].enqueue(frame)

        self.pool.world.env.process(process())
        return frames


@pytest.fixture
def cell(pool) -> Callable[..., Cell]:
    def build(mac: Mac, positions_m: list, **settings) -> Cell:
        sea = pool(positions_m, **settings)
        count = len(positions_m)
        drops: list[tuple[Frame, str]] = []

        def no_route(*_):
            raise AssertionError("a MAC sends no packets of its own")

        interfaces = [
            MacInterface(
                node, SimulatedContext(sea.world, node, count, Device(), no_route), sea.medium, mac.queue_limit,
                lambda frame, reason: drops.append((frame, reason)),
            )
            for node in range(count)
        ]
        for interface in interfaces:
            sea.world.env.process(mac.run(interface))
        return Cell(sea, interfaces, drops)

    return build
