"""DBR: depth-based routing, the greedy broadcast that DBCAR descends from."""

from __future__ import annotations

from typing import final

from pydantic import Field

from toolkit.acoustic.node import SeaNode
from toolkit.acoustic.packets import BROADCAST, Frame, Packet
from toolkit.acoustic.routing import Router, Routing
from toolkit.acoustic.routing.holding import Held, HoldingQueue, pass_over, send_copy

HEADER_BYTES = 12
"""Type 1, source 2, sequence 2, previous hop 2, depth 2, ttl 1, CRC 2."""


@final
class Dbr(Routing["DbrRouter"]):
    """Depth-based routing (Yan, Shi and Cui 2008): whoever is shallower forwards, the shallowest first.

    A receiver that is at least `threshold_m` above the previous hop holds the packet for f(dp) = (2 tau / delta)(R - dp), with
    dp the depth gained, R the radio range and tau = R / v0, and forwards it unless a copy from a shallower node is overheard
    before that. f does not contain the length of a frame: with delta = R a copy mostly arrives too late to suppress anything,
    hence the default delta = R / 4.
    """

    range_m: float = Field(900.0, gt=0, description="nominal radio range R")
    delta_share: float = Field(0.25, gt=0, le=1, description="delta as a share of R: smaller holds longer and suppresses more")
    threshold_m: float = Field(0.0, description="least depth gain d_th; negative gives more redundancy")
    speed_m_s: float = Field(1500.0, gt=0, description="sound speed v0 that the holding time assumes")
    ttl: int = Field(20, ge=1, le=255, description="transmissions of a copy at most")
    history: int = Field(256, ge=1, description="packets remembered in Q2")

    def hold_s(self, gain_m: float) -> float:
        """The holding time f(dp); a gain beyond R is held no time at all."""
        tau_s = self.range_m / self.speed_m_s
        delta_m = self.delta_share * self.range_m
        return max(0.0, 2.0 * tau_s / delta_m * (self.range_m - gain_m))

    def init(self, node: SeaNode[DbrRouter]) -> DbrRouter:
        return DbrRouter(self, node)


class DbrRouter(Router):
    """DBR at one node: the packets held and done with."""

    def __init__(self, spec: Dbr, node: SeaNode) -> None:
        self.spec = spec
        self.node = node
        self.queue = HoldingQueue(node, spec.history)

    def originate(self, packet: Packet) -> None:
        self.queue.finish(packet.key)
        self._send(packet, 1)

    def on_receive(self, frame: Frame, snr_db: float) -> None:
        node, spec, queue, packet = self.node, self.spec, self.queue, frame.packet
        if packet is None:
            return
        if node.is_sink:
            node.deliver(packet, frame.hops)
            return
        gain_m = frame.depth_m - node.depth_m
        held = queue.get(packet.key)
        if held is not None:
            if gain_m < spec.threshold_m:  # somebody shallower, or hardly deeper, has sent it
                queue.silence(packet.key)
            else:
                queue.hasten(held, node.now + spec.hold_s(gain_m), self._due)
            return
        if queue.is_done(packet.key):
            return
        if gain_m < spec.threshold_m:
            pass_over(packet)
        elif frame.hops >= spec.ttl:
            node.tracker.refuse(packet, "ttl")
        else:
            queue.hold(packet, frame.hops, spec.hold_s(gain_m), None, self._due)

    def _due(self, held: Held) -> None:
        self._send(held.packet, held.hops + 1)

    def _send(self, packet: Packet, hops: int) -> None:
        node = self.node
        frame = Frame("data", node.id, BROADCAST, HEADER_BYTES + packet.nbytes, packet=packet, hops=hops, depth_m=node.depth_m)
        node.ctx.process(send_copy(node, frame))
