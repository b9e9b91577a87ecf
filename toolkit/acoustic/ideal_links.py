"""Ideal links (`fabric.links: ideal`): every packet arrives, over the shortest way, after the time that its hops take."""

from __future__ import annotations

from typing import ClassVar, final
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse.csgraph import dijkstra

from toolkit.acoustic.node import SeaNode
from toolkit.acoustic.packets import ANY_SINK, Frame, Packet
from toolkit.acoustic.phy.channel import Channel
from toolkit.acoustic.routing import Router, Routing
from toolkit.acoustic.routing.neighbours import LinkBudget

HEADER_BYTES = 12
"""Type 1, source 2, sequence 2, previous 2, next 2, ttl 1, CRC 2: that of a protocol which names the next hop."""
DESIGN_BITS = 8 * 64
"""Frames of this length decide whether there is a link at all."""

_HOPS: WeakKeyDictionary[Channel, tuple[tuple[float, int], NDArray[np.float64]]] = WeakKeyDictionary()


@final
class IdealLinks(Routing["IdealRouter"]):
    """Not a protocol but an idealisation that stands in for one, to hold protocols against: no noise, no collision, no fading.

    A packet takes the way with the least time over the links whose mean SNR in the present epoch promises a frame of 64 bytes a success of
    `least_success`, known without being asked for. Each hop lasts what its frame takes on the air and the sound on its way, begins when
    the sender's modem is free, and is charged to sender and receiver. Frames of different nodes never meet, modems hear while they send, no
    beacon and no acknowledgement is needed, and the MAC is not asked. A packet without a way is lost in a void.
    """

    addresses: ClassVar[bool] = True

    least_success: float = Field(0.5, gt=0, lt=1, description="success of a 64-byte frame from which a link is one")

    def init(self, node: SeaNode[IdealRouter]) -> IdealRouter:
        return IdealRouter(self, node)


class IdealRouter(Router):
    """One node's part: when its modem is free, and the packets that wait for that."""

    def __init__(self, spec: IdealLinks, node: SeaNode) -> None:
        self.spec = spec
        self.node = node
        self._free_s = 0.0
        self._level_db: float | None = None

    def originate(self, packet: Packet) -> None:
        self._send(packet, 0)

    def on_receive(self, frame: Frame, snr_db: float) -> None:
        """Nothing is ever heard through the water."""

    def _send(self, packet: Packet, hops: int) -> None:
        """Send a packet that this node holds on its next hop, once the modem is free."""
        node = self.node
        next_hop = self._next(packet)
        if next_hop is None:
            node.tracker.drop(packet, "void")
            return
        frame = Frame(packet.kind, node.id, next_hop.node.id, HEADER_BYTES + packet.nbytes, packet=packet, hops=hops + 1)
        begin_s = max(node.now, self._free_s)
        self._free_s = begin_s + node.modem.frame_s(frame.nbytes)
        node.ctx.world.env.call_in(begin_s - node.now, lambda _: self._leave(packet, frame, next_hop))

    def _leave(self, packet: Packet, frame: Frame, to: IdealRouter) -> None:
        node = self.node
        if not node.mac.has_power():
            node.tracker.drop(packet, "dead")
            return
        way_s = float(node.channel.delay_s[node.id, to.node.id])
        node.mac.carry(packet, frame, way_s, lambda: to._arrive(packet, frame.hops))
        node.tracker.drop(packet, "")

    def _arrive(self, packet: Packet, hops: int) -> None:
        node = self.node
        if node.mac.silent:
            node.tracker.refuse(packet, "dead")
        elif node.ends(packet):
            node.deliver(packet, hops)
        else:
            node.tracker.hold(packet)
            self._send(packet, hops)

    def _next(self, packet: Packet) -> IdealRouter | None:
        """The next node on the fastest way to where *packet* goes."""
        node = self.node
        ends = list(node.sinks) if packet.dst == ANY_SINK else [packet.dst]
        cost_s = self._hops()
        reverse = cost_s.T.copy()
        if packet.dst == ANY_SINK:
            reverse[:, ends] = 0.0  # sinks relay nothing that may end at them
        _, before, _ = dijkstra(reverse, directed=True, indices=ends, min_only=True, return_predecessors=True)
        found = int(before[node.id])
        router: IdealRouter | None = None if found < 0 else node.peers[found].state
        return router

    def _hops(self) -> NDArray[np.float64]:
        """Time in s (n, n) of a hop from row to column, 0 where there is no link, in the present epoch."""
        channel = self.node.channel
        living = np.array([not peer.mac.silent for peer in self.node.peers])
        state = channel.t_s, int(living.sum())
        known = _HOPS.get(channel)
        if known is None or known[0] != state:
            if self._level_db is None:
                self._level_db = LinkBudget(self.node.modem).snr_db_for(self.spec.least_success, DESIGN_BITS)
            open_to = (channel.snr_db >= self._level_db) & living[:, None] & living[None, :]
            cost_s = np.where(open_to, channel.delay_s + self.node.modem.frame_s(DESIGN_BITS / 8), 0.0)
            known = _HOPS[channel] = (state, cost_s)
        return known[1]
