"""A link that all clients of a server share: their flows in closed form, one account per kind of client instead of an event per flow.

All flows of a kind run at the same rate at any time, so a kind is told by what a flow of it has been served since the kind was last idle;
a flow ends when that has grown by its bytes. Rates are max-min fair, as in `toolkit.cluster.flows`: flows whose own link is slower than an
equal share run at their own link's rate, the others divide what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Generic, TypeVar

Item = TypeVar("Item")
NEVER_S = float("inf")


class SharedLink(Generic[Item]):
    """One direction of the way between a server and its clients."""

    def __init__(self, bytes_per_s: float, own_bytes_per_s: Sequence[float]) -> None:
        """Args: the rate of the link that all share, and by kind that of a client's own."""
        self.bytes_per_s = bytes_per_s
        self._own = list(own_bytes_per_s)
        self._slowest_first = sorted(range(len(self._own)), key=self._own.__getitem__)
        self._served = [0.0] * len(self._own)
        self._rates = [0.0] * len(self._own)
        self._flows: list[list[tuple[float, int, Item]]] = [[] for _ in self._own]
        """By kind, a heap of the account at which each flow ends."""
        self._started = 0
        self._under_way = 0
        self._now_s = 0.0
        self.next_s = NEVER_S
        """When the next flow ends, if none begins before."""

    def start(self, at_s: float, kind: int, nbytes: float, item: Item) -> None:
        """Let a flow begin at *at_s*, which is not after `next_s`; *item* is what `take` gives back. Call `settle` after the last."""
        self._to(at_s)
        if not self._flows[kind]:
            self._served[kind] = 0.0
        self._started += 1
        self._under_way += 1
        heappush(self._flows[kind], (self._served[kind] + nbytes, self._started, item))

    def take(self) -> list[Item]:
        """Go on to `next_s` and return what ends there; then `settle`."""
        ends = self._ends()
        kind = min(range(len(ends)), key=ends.__getitem__)
        self._to(self.next_s)
        flows = self._flows[kind]
        self._served[kind] = target = flows[0][0]
        found = []
        while flows and flows[0][0] <= target:
            found.append(heappop(flows)[2])
        self._under_way -= len(found)
        return found

    def settle(self) -> None:
        """Give all flows their rates, and foresee the next end."""
        left, rest = self.bytes_per_s, self._under_way
        for kind in self._slowest_first:
            count = len(self._flows[kind])
            if count:
                self._rates[kind] = rate = min(self._own[kind], left / rest)
                left, rest = left - rate * count, rest - count
        self.next_s = min(self._ends(), default=NEVER_S)

    def _ends(self) -> list[float]:
        """When the first flow of each kind ends."""
        now_s = self._now_s
        return [
            now_s + max(0.0, flows[0][0] - served) / rate if flows else NEVER_S
            for flows, served, rate in zip(self._flows, self._served, self._rates, strict=True)
        ]

    def _to(self, at_s: float) -> None:
        elapsed_s = at_s - self._now_s
        if elapsed_s > 0:
            for kind, flows in enumerate(self._flows):
                if flows:
                    self._served[kind] += self._rates[kind] * elapsed_s
            self._now_s = at_s
