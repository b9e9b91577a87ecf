"""Mine: a routing protocol to begin with. It gossips: whoever hears a packet for the first time repeats it with some probability.

    toolkit check ./mine.py
    toolkit simulate SCENARIO.yaml --set fabric.routing=mine        with this file beside the scenario
"""

from __future__ import annotations

from typing import final

from pydantic import Field

from toolkit.acoustic.node import SeaNode
from toolkit.acoustic.packets import BROADCAST, Frame, Packet
from toolkit.acoustic.routing import Router, Routing

HEADER_BYTES = 10
"""What a frame carries beside the packet: source, sequence number, hops, checksum."""


@final
class Mine(Routing["MineRouter"]):
    """Gossip: whoever hears a packet for the first time repeats it with probability `p`, after a random delay.

    Settings are fields like these, with bounds and a description; what changes during a run is kept by the router.
    """

    p: float = Field(0.8, gt=0, le=1, description="probability with which a packet is repeated")
    jitter_s: float = Field(1.0, ge=0, description="longest random delay before that")
    most_hops: int = Field(10, ge=1, le=255, description="hops after which a packet is not repeated")

    def init(self, node: SeaNode[MineRouter]) -> MineRouter:
        """Return the protocol at one node; every node and every sink has its own."""
        return MineRouter(self, node)


class MineRouter(Router):
    """Gossip at one node: the packets that it has heard of."""

    def __init__(self, settings: Mine, node: SeaNode[MineRouter]) -> None:
        self.settings, self.node = settings, node
        self.known: set[tuple[int, int]] = set()

    def originate(self, packet: Packet) -> None:
        """Send a packet of this node's own. The node holds a copy of it, which is dropped once it has left."""
        self.known.add(packet.key)
        self.broadcast(packet, hops=1, delay_s=0.0)

    def on_receive(self, frame: Frame, snr_db: float) -> None:
        """Act on a frame that this node has heard: a sink delivers its packet, any other may repeat it."""
        node, packet = self.node, frame.packet
        if packet is None or packet.key in self.known:
            return
        self.known.add(packet.key)
        if node.ends(packet):
            node.deliver(packet, frame.hops)
        elif frame.hops < self.settings.most_hops and node.rng.random() < self.settings.p:
            node.tracker.hold(packet)  # a copy of it is this node's duty until it is dropped
            self.broadcast(packet, hops=frame.hops + 1, delay_s=self.settings.jitter_s * node.rng.random())
        else:
            node.tracker.refuse(packet, "not_repeated")  # the reason that is told if nobody else delivers it

    def broadcast(self, packet: Packet, *, hops: int, delay_s: float) -> None:
        """Send a copy after *delay_s* to whoever hears it, and drop this node's copy when it has left."""
        node = self.node

        def left(_: object) -> None:
            node.tracker.drop(packet, "unheard")  # counts only if no other copy is held or delivered

        def send(_: object) -> None:
            nbytes = HEADER_BYTES + packet.nbytes
            sent = node.send_frame(Frame("data", node.id, BROADCAST, nbytes, packet=packet, hops=hops, depth_m=node.depth_m))
            if sent.callbacks is not None:
                sent.callbacks.append(left)

        node.ctx.world.env.call_in(delay_s, send)
