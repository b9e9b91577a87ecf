"""How far any protocol could get: packets that store-and-forward could have delivered in time over the true channel.

A hop counts as possible while its success, at the channel's mean SNR of the position epoch and averaged over fading, is at least so much
for a frame that is nothing but the payload. Within an epoch a packet may take any number of hops; nodes may keep it as long as it lives;
nobody else sends. A protocol that does not use poorer hops cannot deliver more, and one that delivers less has left the rest on the table.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from toolkit.acoustic.packets import ANY_SINK, Packet
from toolkit.acoustic.routing.neighbours import LinkBudget
from toolkit.core.part import Spec

Bools = NDArray[np.bool_]


class Reach(Spec):
    """Which bounds are reckoned, of packets of which age."""

    lifetime_s: float = Field(1800.0, gt=0, description="age up to which a packet could still be delivered")
    successes: list[float] = Field([0.5, 0.2], description="success from which a hop is possible; one bound each")
    most_nodes: int = Field(500, ge=0, description="larger networks are not bounded; 0 turns it off")


class Bound(NamedTuple):
    """One bound: who may hand a packet to whom."""

    success: float
    upward: bool
    """Whether hops go to shallower nodes alone."""


class Reachability:
    """Spreads every packet over all nodes that it could be at, epoch by epoch, until one of them is a sink or its life ends."""

    def __init__(self, spec: Reach, budget: LinkBudget, sinks: range, count: int, counted_until_s: float) -> None:
        self._spec = spec
        self._budget = budget
        self._sinks = sinks
        self._counted_until_s = counted_until_s
        self._seen = 0
        self._levels_db: dict[tuple[float, int], float] = {}
        bounds = [Bound(success, upward) for success in spec.successes for upward in (False, True)]
        self._alive: dict[Bound, list[tuple[Packet, Bools]]] = {bound: [] for bound in (bounds if count <= spec.most_nodes else [])}
        self.delivered: dict[Bound, int] = dict.fromkeys(self._alive, 0)
        self.generated = 0

    @property
    def bounded(self) -> bool:
        """Whether there is any bound to reckon."""
        return bool(self._alive)

    def pass_epoch(self, packets: list[Packet], snr_db: NDArray[np.float64], depth_m: NDArray[np.float64], end_s: float) -> None:
        """Take the epoch that ends at *end_s*, in which *snr_db* (n, n) and *depth_m* (n,) held; *packets* are all of the run so far."""
        fresh = [packet for packet in packets[self._seen :] if packet.dst == ANY_SINK and packet.created_s < self._counted_until_s]
        self._seen = len(packets)
        self.generated += len(fresh)
        depth_m = depth_m.copy()
        depth_m[self._sinks.start : self._sinks.stop] = 0.0
        for bound, alive in self._alive.items():
            for packet in fresh:
                at = np.zeros(len(depth_m), dtype=bool)
                at[packet.src] = True
                alive.append((packet, at))
            left: list[tuple[Packet, Bools]] = []
            for nbytes in sorted({packet.nbytes for packet, _ in alive}):
                own = [(packet, at) for packet, at in alive if packet.nbytes == nbytes]
                spread = self._spread(np.array([at for _, at in own]), self._hops(bound, 8 * nbytes, snr_db, depth_m))
                ashore: list[bool] = [bool(at.any()) for at in spread[:, self._sinks.start : self._sinks.stop]]
                self.delivered[bound] += sum(ashore)
                left += [
                    (packet, at) for (packet, _), at, there in zip(own, spread, ashore, strict=True)
                    if not there and packet.created_s + self._spec.lifetime_s > end_s
                ]
            self._alive[bound] = left

    def shares(self) -> list[tuple[Bound, float]]:
        """Return the share of the packets that each bound lets through, of those that count."""
        return [(bound, count / self.generated if self.generated else math.nan) for bound, count in self.delivered.items()]

    def level_db(self, success: float, bits: int) -> float:
        """The least mean SNR at which a frame of *bits* succeeds with probability *success*."""
        level_db = self._levels_db.get((success, bits))
        if level_db is None:
            level_db = self._levels_db[success, bits] = self._budget.snr_db_for(success, bits)
        return level_db

    def _hops(self, bound: Bound, bits: int, snr_db: NDArray[np.float64], depth_m: NDArray[np.float64]) -> NDArray[np.float32]:
        """Who can hand a packet to whom (n, n), as zeros and ones; sinks keep what they have."""
        open_to = snr_db >= self.level_db(bound.success, bits)
        if bound.upward:
            open_to &= depth_m[:, None] > depth_m[None, :]
        open_to[self._sinks.start : self._sinks.stop] = False
        return open_to.astype(np.float32)

    @staticmethod
    def _spread(at: Bools, hops: NDArray[np.float32]) -> Bools:
        """Let packets (m, n) take any number of hops."""
        while True:
            further = at | (at.astype(np.float32) @ hops > 0.0)
            if np.array_equal(further, at):
                return further
            at = further
