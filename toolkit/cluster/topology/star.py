"""Star: every node on one switch."""

from __future__ import annotations

from typing import final

from pydantic import Field

from toolkit.cluster.link import Link
from toolkit.cluster.topology import BuiltTopology, Topology, duplex, lay_out, node_names


@final
class Star(Topology):
    """Each node has one full-duplex link to one switch that carries whatever its ports can.

    A message takes two links, so between two hosts the delay is twice that of a link.
    """

    link: Link = Field(default_factory=lambda: Link(profile="gigabit_ethernet"), description="link of every node")
    server_link: Link | None = Field(None, description="link of the servers, where it is another one")

    def init(self, workers: int, servers: int = 0) -> BuiltTopology:
        nodes = node_names(workers, servers)
        links = []
        for rank, node in enumerate(nodes):
            links += duplex(node, "switch", self.link if rank < workers or self.server_link is None else self.server_link)

        def route(src: int, dst: int) -> tuple[int, ...]:
            return 2 * src, 2 * dst + 1

        return lay_out(nodes, links, route)
