"""Named machines that are slow all the time."""

from __future__ import annotations

from typing import final

from pydantic import Field

from toolkit.cluster.stragglers import Factor, Stragglers
from toolkit.cluster.topology import BuiltTopology
from toolkit.core.bounds import Positive
from toolkit.core.streams import Streams


@final
class FixedStragglers(Stragglers):
    """Each named node needs `factor` times as long for everything it computes."""

    factors: dict[str, Positive] = Field(description="node name to how many times longer it takes, e.g. {worker3: 4.0}")

    def init(self, built: BuiltTopology, streams: Streams) -> Factor:
        slow = {built.index_of_node(name): factor for name, factor in self.factors.items()}
        return lambda node, start_s: slow.get(node, 1.0)
