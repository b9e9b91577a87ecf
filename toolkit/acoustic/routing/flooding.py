"""Flooding: everybody repeats everything once."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, final

from pydantic import Field

from toolkit.acoustic.node import SeaNode
from toolkit.acoustic.packets import BROADCAST, Frame, Packet
from toolkit.acoustic.routing import Router, Routing

HEADER_BYTES = 10
"""Type 1, source 2, sequence 2, previous hop 2, ttl 1, CRC 2."""


@final
class Flooding(Routing["FloodingRouter"]):
    """Every node rebroadcasts the first copy of a packet that it hears, after a random delay.

    The delay U(0, `jitter_s`) keeps neighbours from answering in chorus; `ttl` bounds the hops and a cache of `cache_s`
    the memory (values of the DESERT framework).
    """

    addresses: ClassVar[bool] = True

    jitter_s: float = Field(1.0, ge=0, description="longest random delay before a rebroadcast")
    ttl: int = Field(10, ge=1, le=255, description="transmissions of a copy at most")
    cache_s: float = Field(60.0, gt=0, description="how long a packet is remembered")

    def init(self, node: SeaNode[FloodingRouter]) -> FloodingRouter:
        return FloodingRouter(self, node)


class FloodingRouter(Router):
    """Flooding at one node: the packets heard lately."""

    def __init__(self, spec: Flooding, node: SeaNode) -> None:
        self.spec = spec
        self.node = node
        self.heard_s: dict[tuple[int, int], float] = {}
        """By (source, sequence), when a packet was heard for the first time."""
        self.tidy_s = 0.0
        """When those that were heard too long ago are forgotten next."""
        self.dice: list[float] = []
        """Numbers of U(0, 1) not used yet, the next one last."""

    def originate(self, packet: Packet) -> None:
        self._first_copy(packet)
        self._broadcast(packet, 1, 0.0)

    def on_receive(self, frame: Frame, snr_db: float) -> None:
        node, packet = self.node, frame.packet
        if packet is None or not self._first_copy(packet):
            return
        if node.ends(packet):
            node.deliver(packet, frame.hops)
        elif frame.hops < self.spec.ttl:
            node.tracker.hold(packet)
            self._broadcast(packet, frame.hops + 1, self.spec.jitter_s * self._throw())
        else:
            node.tracker.refuse(packet, "ttl")

    def _broadcast(self, packet: Packet, hops: int, delay_s: float) -> None:
        """Send a copy after *delay_s*, and let go of it once it has left."""
        self.node.ctx.world.env.call_in(delay_s, partial(self._send, packet, hops))

    def _send(self, packet: Packet, hops: int, _: object) -> None:
        node = self.node
        nbytes = HEADER_BYTES + packet.nbytes
        sent = node.send_frame(Frame("data", node.id, BROADCAST, nbytes, packet=packet, hops=hops, depth_m=node.depth_m))
        if sent.callbacks is not None:
            sent.callbacks.append(partial(self._let_go, packet))

    def _let_go(self, packet: Packet, _: object) -> None:
        self.node.tracker.drop(packet, "" if packet.reason else "void")  # heard by those alone who had it already

    def _throw(self) -> float:
        dice = self.dice
        if not dice:
            dice.extend(self.node.rng.random(32)[::-1].tolist())
        return dice.pop()

    def _first_copy(self, packet: Packet) -> bool:
        """Whether the packet was not heard within `cache_s`; remember it then, and now and again forget what is older."""
        heard_s, now = self.heard_s, self.node.now
        since_s = now - self.spec.cache_s
        before_s = heard_s.get(packet.key)
        if before_s is not None and before_s >= since_s:
            return False
        if now >= self.tidy_s:
            self.heard_s = heard_s = {key: heard for key, heard in heard_s.items() if heard >= since_s}
            self.tidy_s = now + self.spec.cache_s
        heard_s[packet.key] = now
        self.node.mac.ignore(packet, now + self.spec.cache_s - 1e-6)  # the medium need not ask again
        return True
