"""Hierarchy: GPUs joined inside a host, and hosts joined by their network interfaces."""

from __future__ import annotations

from typing import final

from pydantic import Field

from toolkit.cluster.link import Link
from toolkit.cluster.topology import BuiltTopology, Topology, duplex, lay_out, node_names


@final
class Hierarchy(Topology):
    """Every worker is a GPU; `gpus_per_host` of them share a host, its fast inner switch, and its one network interface.

    Messages inside a host take two inner links. Between hosts they also take the interfaces of both, which all GPUs of a host
    share. A server is a host of its own, straight on the network. The last host may be partly filled.
    """

    gpus_per_host: int = Field(8, ge=1, description="workers per host")
    inner_link: Link = Field(default_factory=lambda: Link(profile="nvlink3"), description="link between a GPU and its host's switch")
    link: Link = Field(default_factory=lambda: Link(profile="hundred_gigabit"), description="link of a host, or server, to the network")

    def init(self, workers: int, servers: int = 0) -> BuiltTopology:
        nodes = node_names(workers, servers)
        gpus = self.gpus_per_host
        hosts = -(-workers // gpus)
        links = []
        for rank in range(workers):
            links += duplex(nodes[rank], f"host{rank // gpus}", self.inner_link)
        for host in range(hosts):
            links += duplex(f"host{host}", "switch", self.link)
        for server in nodes[workers:]:
            links += duplex(server, "switch", self.link)

        def port(rank: int) -> int:
            """The first link of the cable by which a node is on the network."""
            return 2 * (workers + rank // gpus) if rank < workers else 2 * (hosts + rank)

        def route(src: int, dst: int) -> tuple[int, ...]:
            climb = (2 * src,) if src < workers else ()
            descend = (2 * dst + 1,) if dst < workers else ()
            if port(src) == port(dst):
                return climb + descend
            return (*climb, port(src), port(dst) + 1, *descend)

        return lay_out(nodes, links, route)
