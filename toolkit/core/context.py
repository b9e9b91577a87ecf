"""The context of one node: the two calls that cost anything, and little else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from simpy.events import Event, Timeout

from toolkit.core.device import Device
from toolkit.core.work import Work
from toolkit.core.world import World


@dataclass(frozen=True)
class Delivery:
    """How one message ended. Loss is a value; a bug is an exception."""

    outcome: str
    """``delivered`` or ``lost``."""
    t0_s: float
    t1_s: float
    hops: int
    reason: str = ""
    """Why it was lost (``collision``, ``noise``, ``void`` …)."""


class Context:
    """What a program sees of the world: its rank, its processor, its network, its random numbers.

    `compute` and `send` are the only calls that take simulated time or energy, and both write the ledger.
    """

    def __init__(self, world: World, rank: int, size: int, device: Device, sender: Callable[[int, int, int, str], Event]) -> None:
        self.world = world
        self.rank = rank
        self.size = size
        self.device = device
        self._sender = sender
        self._busy_until_s = 0.0

    @property
    def now(self) -> float:
        """Simulated time in s."""
        return self.world.now

    def compute(self, work: Work, phase: str = "") -> Timeout:
        """Run *work* on this node's processor, after whatever it is already doing; the event fires when it is done."""
        now = self.world.now
        start_s = max(now, self._busy_until_s)
        dur_s = self.device.duration_s(work)
        self._busy_until_s = start_s + dur_s
        self.world.ledger.charge(
            start_s, dur_s, self.rank, self.rank, "compute", phase, work.flops,
            int(work.read_bytes + work.write_bytes), dur_s * self.device.busy_w, "done",
        )
        return self.world.env.timeout(self._busy_until_s - now)

    def send(self, dst: int, nbytes: int, phase: str = "data") -> Event:
        """Send a message of *nbytes* to node *dst* (or to the fabric's ``ANY_SINK``); the event's value is a `Delivery`."""
        return self._sender(self.rank, dst, nbytes, phase)

    def sleep(self, delay_s: float) -> Timeout:
        """Do nothing for a while."""
        return self.world.env.timeout(delay_s)

    def metric(self, name: str, value: float, who: str = "", step: int = -1) -> None:
        """Record an observed value at the present time."""
        self.world.ledger.metric(self.world.now, name, value, who, step)

    def rng(self, *name: object) -> np.random.Generator:
        """This node's own random stream of that name."""
        return self.world.streams.rng(*name, self.rank)

    def process(self, generator: Any) -> Event:
        """Start another process of this node."""
        return self.world.env.process(generator)
