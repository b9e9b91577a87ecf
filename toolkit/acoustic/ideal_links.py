"""Ideal links (`fabric.links: ideal`): every packet arrives, over the shortest way, after the time that its hops take."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, final
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse.csgraph import dijkstra

from toolkit.acoustic.node import SeaNode
from toolkit.acoustic.packets import ANY_SINK, BROADCAST, Frame, Packet
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

    def announce(self, packet: Packet, hear: Callable[[int, Packet, int], None]) -> None:
        """Tell all nodes that there is a link to at once; *hear* is called with each of them, the packet and its hops, which are 1."""
        node = self.node
        node.tracker.hold(packet)
        cost_s = self._hops()[node.id]
        peers = [peer.id for peer in node.peers if cost_s[peer.id] > 0.0 and not peer.is_sink]

        def arrive(receiver: int) -> None:
            if not packet.delivered:
                node.peers[receiver].tracker.deliver(packet, receiver, 1)
            hear(receiver, packet, 1)

        self._when_free(packet, BROADCAST, 1, peers, arrive)

    def _send(self, packet: Packet, hops: int) -> None:
        """Send a packet that this node holds on its next hop, once the modem is free."""
        next_hop = self._next(packet)
        if next_hop is None:
            self.node.tracker.drop(packet, "void")
        else:
            to = next_hop
            self._when_free(packet, to.node.id, hops + 1, [to.node.id], lambda _: to._arrive(packet, hops + 1))

    def _when_free(self, packet: Packet, dst: int, hops: int, receivers: list[int], arrive: Callable[[int], None]) -> None:
        """Send a packet that this node holds to *receivers* in one frame, once the modem is free, and let go of it."""
        node = self.node
        frame = Frame(packet.kind, node.id, dst, HEADER_BYTES + packet.nbytes, packet=packet, hops=hops)
        begin_s = max(node.now, self._free_s)
        self._free_s = begin_s + node.modem.frame_s(frame.nbytes)

        def leave(_: object) -> None:
            if not node.mac.has_power():
                node.tracker.drop(packet, "dead")
                return
            node.mac.carry(packet, frame, {each: float(node.channel.delay_s[node.id, each]) for each in receivers}, arrive)
            node.tracker.drop(packet, "unheard")

        node.ctx.world.env.call_in(begin_s - node.now, leave)

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
