"""WAN edge: clients at home or on the road, and a site with the servers, joined by the internet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, final

from pydantic import Field, model_validator

from toolkit.cluster.link import Link
from toolkit.cluster.topology import BuiltTopology, Topology, duplex, lay_out, node_names
from toolkit.core.part import Spec


@final
class Access(Spec):
    """A client's way into the internet and out of it; ``home_adsl`` alone stands for ``up: home_adsl_up, down: home_adsl_down``."""

    short: ClassVar[Mapping[str, Any]] = {"type": "string", "description": "an access by name, or one link for both ways"}

    up: Link = Field(description="from the client into the internet")
    down: Link = Field(description="from the internet to the client")

    @model_validator(mode="before")
    @classmethod
    def _both_ways(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        known = Link.profiles()
        return {way: f"{value}_{way}" if f"{value}_{way}" in known else value for way in ("up", "down")}


@final
class WanEdge(Topology):
    """Workers are clients with links of their own, faster down than up as a rule; servers share the link of one site.

    `clients` are dealt over the workers in turn, so two kinds make every other client the same. The internet between is
    never full; it adds `internet_delay_s` to whatever crosses it, clients talking to each other included. Servers reach each
    other within the site.
    """

    clients: list[Access] = Field(
        default_factory=lambda: [Access.model_validate(name) for name in ("home_fibre", "home_adsl", "lte")], min_length=1,
        description="kinds of clients, dealt over the workers in turn",
    )
    internet_delay_s: float = Field(0.02, ge=0, description="one way through the internet, access links not counted")
    site_link: Link = Field(default_factory=lambda: Link(profile="ten_gigabit_ethernet"), description="the site's link to the internet")
    server_link: Link = Field(default_factory=lambda: Link(profile="ten_gigabit_ethernet"), description="a server's link inside the site")

    def init(self, workers: int, servers: int = 0) -> BuiltTopology:
        nodes = node_names(workers, servers)
        half_s = self.internet_delay_s / 2  # each way in and each way out has one half, and a route has one of each
        links = []
        ways = [(access.up.lengthened(half_s), access.down.lengthened(half_s)) for access in self.clients]
        for rank in range(workers):
            up, down = ways[rank % len(ways)]
            links += [(nodes[rank], "internet", up), ("internet", nodes[rank], down)]
        for server in nodes[workers:]:
            links += duplex(server, "site", self.server_link)
        site = len(links)
        if servers:
            links += duplex("site", "internet", self.site_link.lengthened(half_s))

        def route(src: int, dst: int) -> tuple[int, ...]:
            out = (site,) if src >= workers > dst else ()
            into = (site + 1,) if dst >= workers > src else ()
            return (2 * src, *out, *into, 2 * dst + 1)

        return lay_out(nodes, links, route)
