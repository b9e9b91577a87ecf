"""Ring: every node linked to the next."""

from __future__ import annotations

from typing import final

from pydantic import Field

from toolkit.cluster.link import Link
from toolkit.cluster.topology import BuiltTopology, Topology, lay_out, node_names


@final
class RingTopology(Topology):
    """Nodes in a circle by rank, each with a full-duplex link to its two neighbours; nodes in between forward.

    A message goes the shorter way round, and clockwise (to higher ranks) where both are equally long.
    """

    link: Link = Field(default_factory=lambda: Link(profile="gigabit_ethernet"), description="link between two neighbours")

    def init(self, workers: int, servers: int = 0) -> BuiltTopology:
        nodes = node_names(workers, servers)
        count = len(nodes)
        clockwise = [(nodes[i], nodes[(i + 1) % count], self.link) for i in range(count)]
        backwards = [(nodes[i], nodes[i - 1], self.link) for i in range(count)]
        if count == 1:
            clockwise = []
        if count <= 2:  # two nodes have one cable between them, and going on is going back
            backwards = []

        def route(src: int, dst: int) -> tuple[int, ...]:
            ahead = (dst - src) % count
            if ahead <= count - ahead:
                return tuple((src + hop) % count for hop in range(ahead))
            return tuple(count + (src - hop) % count for hop in range(count - ahead))

        return lay_out(nodes, clockwise + backwards, route)
