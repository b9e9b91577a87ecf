"""Topologies: which links there are between the nodes of a cluster, and which of them a message takes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from toolkit.cluster.link import Link
from toolkit.core.part import Part, nearest

Floats = NDArray[np.float64]
Router = Callable[[int, int], tuple[int, ...]]
"""From source and destination (two different ranks) to the indices of the links in between, in order."""


@dataclass(frozen=True, eq=False, kw_only=True)
class BuiltTopology:
    """A topology laid out for so many nodes.

    `nodes` holds the names of the nodes (``worker0`` …, then ``server0`` …), a node's index being its rank. `links` holds the names
    of the directed links, ``FROM>TO``, where either end is a node or a switch (``worker3>switch``); a full-duplex cable is two of them.
    The arrays have one entry per link: what it carries (lost packets sent again counted), its delay one way, the energy
    of a bit that arrives, and the power it draws at all times.
    """

    nodes: tuple[str, ...]
    links: tuple[str, ...]
    rate_bps: Floats
    delay_s: Floats
    energy_j_per_bit: Floats
    idle_w: Floats
    router: Router

    def route(self, src: int, dst: int) -> tuple[int, ...]:
        """Return the links from rank *src* to rank *dst* in order, always the same ones; none from a node to itself.

        Worked out anew at each call, which costs about as much as looking it up, and no table grows with the square of the nodes.
        """
        for rank in (src, dst):
            if not 0 <= rank < len(self.nodes):
                raise ValueError(f"rank {rank} is not one of the {len(self.nodes)} nodes (0 to {len(self.nodes) - 1})")
        return () if src == dst else self.router(src, dst)

    def index_of_node(self, name: str) -> int:
        """Return the rank of the node called *name*."""
        return _look_up("node", name, self._node_indices)

    def index_of_link(self, name: str) -> int:
        """Return the index of the directed link called *name*."""
        return _look_up("link", name, self._link_indices)

    @cached_property
    def _node_indices(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.nodes)}

    @cached_property
    def _link_indices(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.links)}


class Topology(Part):
    """How the nodes of a cluster are connected."""

    family: ClassVar[str] = "topology"

    @abstractmethod
    def init(self, workers: int, servers: int = 0) -> BuiltTopology:
        """Lay out the links for *workers* workers and *servers* servers, which have the ranks after the workers.

        Raises:
            ValueError: so many nodes cannot be connected this way; one sentence.
        """


def node_names(workers: int, servers: int) -> tuple[str, ...]:
    """Return the names of the nodes by rank.

    Raises:
        ValueError: there is no worker, or less than no server.
    """
    if workers < 1:
        raise ValueError(f"workers: {workers} is below 1; a cluster needs at least one worker")
    if servers < 0:
        raise ValueError(f"servers: {servers} is below 0")
    return tuple(f"worker{i}" for i in range(workers)) + tuple(f"server{i}" for i in range(servers))


def lay_out(nodes: tuple[str, ...], links: Sequence[tuple[str, str, Link]], router: Router) -> BuiltTopology:
    """Build a topology from its links, each given as (from, to, link), in the order in which *router* counts them."""

    def column(values: list[float]) -> Floats:
        array = np.array(values, dtype=np.float64)
        array.setflags(write=False)
        return array

    return BuiltTopology(
        nodes=nodes, links=tuple(f"{start}>{end}" for start, end, _ in links), router=router,
        rate_bps=column([link.goodput_bps for _, _, link in links]), delay_s=column([link.delay_s for _, _, link in links]),
        energy_j_per_bit=column([link.energy_j_per_delivered_bit for _, _, link in links]),
        idle_w=column([link.idle_w for _, _, link in links]),
    )


def duplex(start: str, end: str, link: Link) -> list[tuple[str, str, Link]]:
    """Return both directions of a cable: from *start* to *end*, then back."""
    return [(start, end, link), (end, start, link)]


def _look_up(kind: str, name: str, known: dict[str, int]) -> int:
    if name in known:
        return known[name]
    names = list(known)
    span = f" (they go from '{names[0]}' to '{names[-1]}')" if names else " (there is none)"
    raise ValueError(f"'{name}' is not a {kind} of this topology{nearest(name, names)}{span}")
