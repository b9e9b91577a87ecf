"""The book of a federation's server: what became of every errand, how stale updates were, and who took part how often."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from toolkit.core.context import Context

LATE, SPARE, LEFT = "late", "spare", "left"
REASONS = {
    LATE: "after the deadline", SPARE: "after as many as were wanted", LEFT: "the client went away",
}
"""Why an update is dropped."""


class Book:
    """Every errand is sent out, and then aggregated, dropped for a reason, or still under way at the end."""

    def __init__(self, clients: int) -> None:
        self.sent_out = self.aggregated = 0
        self.dropped: Counter[str] = Counter()
        self.staleness: Counter[int] = Counter()
        """Aggregated updates by how many versions of the model had come since theirs."""
        self.took_part: NDArray[np.int64] = np.zeros(clients, np.int64)
        """Aggregated updates by client."""

    @property
    def under_way(self) -> int:
        return self.sent_out - self.aggregated - self.dropped.total()

    def take(self, client: int, staleness: int) -> None:
        """An update was aggregated."""
        self.aggregated += 1
        self.staleness[staleness] += 1
        self.took_part[client] += 1

    def tell(self, ctx: Context, rounds: int) -> None:
        """Record all of it at the end."""
        counts = {"rounds": rounds, "sent_out": self.sent_out, "aggregated": self.aggregated, "under_way": self.under_way}
        for name, value in counts.items():
            ctx.metric(name, float(value))
        for reason in REASONS:
            ctx.metric("dropped", float(self.dropped[reason]), who=reason)
        for staleness, count in sorted(self.staleness.items()):
            ctx.metric("staleness", float(count), who=str(staleness))
        for often, count in sorted(Counter(self.took_part.tolist()).items()):
            ctx.metric("took_part", float(count), who=str(often))
