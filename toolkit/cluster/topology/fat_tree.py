"""Fat tree: three levels of equal switches with as much bandwidth above as below."""

from __future__ import annotations

from typing import final

from pydantic import Field

from toolkit.cluster.link import Link
from toolkit.cluster.topology import BuiltTopology, Topology, duplex, lay_out, node_names

MASK = 2**64 - 1


@final
class FatTree(Topology):
    """The k-ary fat tree: k pods of k/2 edge and k/2 aggregation switches, (k/2)² core switches, room for k³/4 nodes.

    Every link is the same, and half of the nodes can send to the other half at full rate if the flows spread evenly. They
    spread as a router would do it: a flow takes the switches that a hash of its two ends names, so some links carry
    several flows while others are idle. Nodes fill edge switches in the order of their ranks; pods without nodes are left out.

    Source: Al-Fares, Loukissas and Vahdat, A scalable, commodity data center network architecture, SIGCOMM 2008, section 2.2.
    Departures: upward switches by hash (ECMP, RFC 2992) instead of the two-level tables of their section 3.
    """

    link: Link = Field(default_factory=lambda: Link(profile="ten_gigabit_ethernet"), description="every link")
    k: int | None = Field(None, ge=2, multiple_of=2, description="ports per switch; by default the fewest that hold the nodes")
    ecmp_seed: int = Field(0, ge=0, description="another number spreads the flows in another way")

    def init(self, workers: int, servers: int = 0) -> BuiltTopology:
        nodes = node_names(workers, servers)
        count = len(nodes)
        fewest = 2
        while fewest**3 // 4 < count:
            fewest += 2
        k = self.k or fewest
        if k < fewest:
            raise ValueError(f"k: {k} has room for {k**3 // 4} nodes, and there are {count}; it must be at least {fewest}")
        half = k // 2
        pods = -(-count // half**2)

        # Order of the cables, two links each: nodes; edge to aggregation by pod, edge, aggregation; aggregation to core by
        # pod, aggregation, core. Aggregation switch a of every pod reaches the cores a·k/2 to a·k/2 + k/2 - 1.
        links = []
        for rank, node in enumerate(nodes):
            links += duplex(node, f"edge{rank // half}", self.link)
        first_edge = len(links)
        for pod in range(pods):
            for edge in range(half):
                for agg in range(half):
                    links += duplex(f"edge{pod * half + edge}", f"agg{pod * half + agg}", self.link)
        first_agg = len(links)
        for pod in range(pods):
            for core in range(half**2):
                links += duplex(f"agg{pod * half + core // half}", f"core{core}", self.link)

        def route(src: int, dst: int) -> tuple[int, ...]:
            up, down = src // half, dst // half  # edge switches, counted over all pods
            if up == down:
                return 2 * src, 2 * dst + 1
            core = _hash(src, dst, self.ecmp_seed) % half**2
            agg = core // half
            climb, descend = first_edge + 2 * (up * half + agg), first_edge + 2 * (down * half + agg) + 1
            pod, other = up // half, down // half
            if pod == other:
                return 2 * src, climb, descend, 2 * dst + 1
            return (
                2 * src, climb, first_agg + 2 * (pod * half**2 + core), first_agg + 2 * (other * half**2 + core) + 1, descend, 2 * dst + 1,
            )

        return lay_out(nodes, links, route)


def _hash(src: int, dst: int, seed: int) -> int:
    """Mix two ranks into 64 bits (the finalizer of SplitMix64), the same on every machine."""
    z = (src * 0x9E3779B97F4A7C15 + dst * 0xD1B54A32D192ED03 + seed * 0x8CB92BA72F3D8DD7 + 1) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)
