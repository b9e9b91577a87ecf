"""Tree: racks of nodes under one core switch, with uplinks that may be narrower than what is below them."""

from __future__ import annotations

from typing import Self, final

from pydantic import Field, model_validator

from toolkit.cluster.link import Link
from toolkit.cluster.topology import BuiltTopology, Topology, duplex, lay_out, node_names


@final
class Tree(Topology):
    """Two levels: `rack_size` nodes (in the order of their ranks) on a leaf switch, and the leaf switches on a core switch.

    An uplink is as wide as all links of a full rack, divided by `oversubscription`, unless `uplink` says what it is.
    The last rack may be partly filled; its uplink is as wide as the others.
    """

    link: Link = Field(default_factory=lambda: Link(profile="gigabit_ethernet"), description="link of every node")
    rack_size: int = Field(4, ge=1, description="nodes per rack")
    oversubscription: float = Field(1.0, gt=0, description="what a rack could send out, over what its uplink carries")
    uplink: Link | None = Field(None, description="link between a rack and the core, instead of oversubscription")

    @model_validator(mode="after")
    def _one_width(self) -> Self:
        if self.uplink is not None and self.oversubscription != 1:
            raise ValueError("give either uplink or oversubscription, not both: each says how wide an uplink is")
        return self

    def init(self, workers: int, servers: int = 0) -> BuiltTopology:
        nodes = node_names(workers, servers)
        count, size = len(nodes), self.rack_size
        if 1 < count <= size:
            raise ValueError(
                f"rack_size: {size} puts all {count} nodes into one rack, where no message takes an uplink;"
                f" it must be below {count} (or use topology star)"
            )
        uplink = self.uplink or self.link.bundled(size / self.oversubscription)
        links = []
        for rank, node in enumerate(nodes):
            links += duplex(node, f"rack{rank // size}", self.link)
        for rack in range(-(-count // size)):
            links += duplex(f"rack{rack}", "core", uplink)

        def route(src: int, dst: int) -> tuple[int, ...]:
            up, down = src // size, dst // size
            if up == down:
                return 2 * src, 2 * dst + 1
            return 2 * src, 2 * (count + up), 2 * (count + down) + 1, 2 * dst + 1

        return lay_out(nodes, links, route)
