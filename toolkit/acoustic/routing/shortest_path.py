"""Static shortest path: routes worked out once, from what an oracle knows of all links."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal, NamedTuple, final
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse.csgraph import dijkstra

from toolkit.acoustic.node import SeaNode
from toolkit.acoustic.packets import ANY_SINK, Frame, Packet
from toolkit.acoustic.phy.faded_success import faded
from toolkit.acoustic.phy.fading import FastFading
from toolkit.acoustic.phy.modem import Modem
from toolkit.acoustic.routing import LinkHistory, Router, Routing
from toolkit.acoustic.routing.forwarding import Carried, Forwarder
from toolkit.core.program import Process

DATA_BYTES = 12
"""Type 1, source 2, sequence 2, previous 2, next 2, ttl 1, CRC 2."""
ACK_BYTES = 11
"""Type 1, from 2, to 2, source 2, sequence 2, CRC 2."""
DESIGN_NBYTES = 64
"""Payload that the success of a link is worked out for."""



class Known(NamedTuple):
    """What the oracle knows of a run."""

    etx: NDArray[np.float64]
    next_hop: NDArray[np.int64]
    """Towards the nearest sink."""
    cost: NDArray[np.float64]
    to: dict[int, NDArray[np.int64]]
    """Next hops towards single nodes and sinks, worked out when they are first asked for."""


_PATHS: WeakKeyDictionary[LinkHistory, dict[tuple[str, Modem], Known]] = WeakKeyDictionary()


class PathAck(NamedTuple):
    """Which packet an acknowledgement is for."""

    key: tuple[int, int]


def etx_matrix(data: NDArray[np.float64], ack: NDArray[np.float64]) -> NDArray[np.float64]:
    """Expected transmissions (n, n) of each link, 1 / (p_data p_ack), for success probabilities [sender, receiver]; inf for none."""
    both = data * ack.T
    with np.errstate(divide="ignore"):
        etx: NDArray[np.float64] = np.where(both > 1e-3, 1.0 / both, np.inf)
    np.fill_diagonal(etx, np.inf)
    return etx


def paths(etx: NDArray[np.float64], sinks: Iterable[int]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return each node's next hop to the nearest sink (-1 for none), and the expected transmissions of its whole way.

    Dijkstra from all sinks at once, against the direction of travel; sinks relay nothing.
    """
    ends = list(sinks)
    reverse = etx.T.copy()
    reverse[:, ends] = np.inf
    graph = np.where(np.isfinite(reverse), reverse, 0.0)  # to scipy a zero is no edge
    cost, next_hop, _ = dijkstra(graph, directed=True, indices=ends, min_only=True, return_predecessors=True)
    return np.where(next_hop < 0, -1, next_hop).astype(np.int64), np.asarray(cost, dtype=np.float64)


@final
class ShortestPath(Routing["PathRouter"]):
    """Every node sends all its packets to one next hop, on the way to a sink with the least expected transmissions (ETX).

    An oracle knows the success of every link, averaged over the history or at the time the run begins, and Dijkstra's algorithm
    gives the ways; they never change. Links are made reliable by acknowledgements: a frame is sent up to `tries` times. It is what
    good planning alone achieves, and what a protocol that follows the channel has to beat.

    Source: ETX after De Couto et al. 2003 (MobiCom). Departures: probabilities are the channel's own and not measured; they are those
    of a 64-byte payload.
    """

    channel_aware: ClassVar[bool] = True
    addresses: ClassVar[bool] = True

    knows: Literal["history", "start"] = Field("history", description="links averaged over the history, or as they are at time zero")
    tries: int = Field(4, ge=1, le=20, description="transmissions of a packet at one hop at most")
    range_m: float = Field(1500.0, gt=0, description="range that the acknowledgement timeout allows for")
    backoff_s: float = Field(0.5, ge=0, description="W of the back-off U(0, 2^r W)")
    guard_s: float = Field(0.1, ge=0, description="guard of the acknowledgement timeout")
    queue_limit: int = Field(50, ge=1, description="packets in a node's care at most")

    def init(self, node: SeaNode[PathRouter]) -> PathRouter:
        return PathRouter(self, node)


class PathRouter(Router):
    """The way out of one node, and what waits for it."""

    def __init__(self, spec: ShortestPath, node: SeaNode) -> None:
        self.spec = spec
        self.node = node
        self.forwarder: Forwarder = Forwarder(node, spec.queue_limit)
        self.next_hop = -1
        """The neighbour that all packets go to; -1 for a node without a way to any sink."""
        self.etx = float("inf")
        """Expected transmissions from here to a sink."""
        self._known: Known | None = None

    def learn(self, history: LinkHistory) -> None:
        """Ask the oracle; what it says is worked out once per run."""
        node = self.node
        known = _PATHS.setdefault(history, {})
        what = (self.spec.knows, node.modem)
        if what not in known:
            now = self.spec.knows == "start" or not len(history.t_s)
            snr_db = node.channel.snr_db[None] if now else history.snr_db
            fading = node.fading if now else FastFading()  # what was heard in the history has faded already
            data, ack = (_success(node.modem, fading, snr_db, nbytes) for nbytes in (DATA_BYTES + DESIGN_NBYTES, ACK_BYTES))
            etx = etx_matrix(data, ack)
            known[what] = Known(etx, *paths(etx, node.sinks), {})
        self._known = known[what]
        self.next_hop, self.etx = int(self._known.next_hop[node.id]), float(self._known.cost[node.id])

    def next_hop_for(self, packet: Packet) -> int:
        """Return the neighbour that *packet* goes to; -1 where there is no way."""
        known = self._known
        if packet.dst == ANY_SINK or known is None:
            return self.next_hop
        if packet.dst not in known.to:
            known.to[packet.dst] = paths(known.etx, [packet.dst])[0]
        return int(known.to[packet.dst][self.node.id])

    def originate(self, packet: Packet) -> None:
        self.forwarder.accept(Carried(packet, 0), None)

    def processes(self) -> Iterable[Process]:
        yield self.forwarder.one_by_one(self._carry)

    def on_receive(self, frame: Frame, snr_db: float) -> None:
        node, packet = self.node, frame.packet
        if frame.dst != node.id:
            return
        if isinstance(frame.body, PathAck):
            self.forwarder.answered(frame.body.key, frame.src)
        elif packet is not None and not self.forwarder.refuses(packet):
            node.send_frame(Frame("ack", node.id, frame.src, ACK_BYTES, depth_m=node.depth_m, body=PathAck(packet.key)))
            self.forwarder.take(frame, Carried(packet, frame.hops), None)

    def _carry(self, carried: Carried) -> Process:
        """Send to the next hop until it acknowledges; return why the packet was given up, if it was."""
        node, spec = self.node, self.spec
        if self.next_hop_for(carried.packet) < 0:
            return "void"
        answer = yield from self.forwarder.offer(
            carried.packet, lambda: self._frame(carried), tries=spec.tries, backoff_s=spec.backoff_s,
            timeout_s=2.0 * spec.range_m / 1500.0 + node.modem.frame_s(ACK_BYTES) + spec.guard_s,
        )
        return "retries" if answer is None else ""

    def _frame(self, carried: Carried) -> Frame:
        node, packet = self.node, carried.packet
        hop = self.next_hop_for(packet)
        return Frame("data", node.id, hop, DATA_BYTES + packet.nbytes, packet=packet, hops=carried.hops + 1, depth_m=node.depth_m)


def _success(modem: Modem, fading: FastFading, snr_db: NDArray[np.float64], nbytes: int) -> NDArray[np.float64]:
    """Mean success probability (n, n) of a frame over times (m, n, n) of a channel with *fading*."""
    per = faded(modem.success_table(), fading, 8 * nbytes).per(np.maximum(snr_db, -100.0) + modem.ebn0_db(0.0), 8 * nbytes)
    success: NDArray[np.float64] = 1.0 - np.asarray(per).mean(axis=0)
    return success
