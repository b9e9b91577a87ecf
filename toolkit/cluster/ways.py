"""Ways: the links between one server and its clients, told apart into what all share and what is each client's own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolkit.cluster.topology import BuiltTopology


class Way(NamedTuple):
    """One direction between the server and a client of some kind."""

    own_bps: float
    """Rate of the client's own links; infinite where it has none."""
    delay_s: float
    """Of all links on the way."""
    energy_j_per_bit: float


@dataclass(frozen=True, eq=False)
class Ways:
    """All of them. Clients with the same two ways are of one kind."""

    kind: NDArray[np.int32]
    """By client."""
    down: tuple[Way, ...]
    """By kind, from the server."""
    up: tuple[Way, ...]
    shared_down_bps: float
    shared_up_bps: float


@lru_cache(maxsize=8)
def ways_of(built: BuiltTopology, clients: int) -> Ways:
    """Return the ways between the first *clients* nodes and the one after them.

    Raises:
        ValueError: some clients share a link that others do not use, or both directions share one; the sentence says that.
    """
    routes = [[built.route(clients, rank) for rank in range(clients)], [built.route(rank, clients) for rank in range(clients)]]
    shared = [set(ways[0]).intersection(*ways[1:]) for ways in routes]
    own = [[tuple(link for link in way if link not in common) for way in ways] for ways, common in zip(routes, shared, strict=True)]
    alone = [link for ways in own for way in ways for link in way]
    if len(set(alone) | shared[0] | shared[1]) < len(alone) + len(shared[0]) + len(shared[1]):
        raise ValueError("some clients share links that others do not use")
    kinds: dict[tuple[Way, Way], int] = {}
    kind = np.empty(clients, np.int32)
    for rank in range(clients):
        down, up = (_way(built, ways[rank], each[rank]) for ways, each in zip(routes, own, strict=True))
        kind[rank] = kinds.setdefault((down, up), len(kinds))
    down_bps, up_bps = (min((float(built.rate_bps[link]) for link in common), default=float("inf")) for common in shared)
    return Ways(kind, tuple(down for down, _ in kinds), tuple(up for _, up in kinds), down_bps, up_bps)


@lru_cache(maxsize=8)
def trips(built: BuiltTopology, clients: int) -> frozenset[tuple[float, float, float]]:
    """Return the different round trips between clients and the node after them: delay, and the slowest rate down and up."""
    found = set()
    for rank in range(clients):
        there, back = built.route(clients, rank), built.route(rank, clients)
        delay_s = sum(float(built.delay_s[link]) for link in there + back)
        down_bps, up_bps = (min(float(built.rate_bps[link]) for link in route) for route in (there, back))
        found.add((delay_s, down_bps, up_bps))
    return frozenset(found)


def _way(built: BuiltTopology, route: tuple[int, ...], own: tuple[int, ...]) -> Way:
    return Way(
        min((float(built.rate_bps[link]) for link in own), default=float("inf")),
        sum(float(built.delay_s[link]) for link in route), sum(float(built.energy_j_per_bit[link]) for link in route),
    )
