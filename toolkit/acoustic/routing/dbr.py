"""DBR: depth-based routing, the greedy broadcast that DBCAR descends from."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import final

from pydantic import Field

from toolkit.acoustic.node import SeaNode
from toolkit.acoustic.packets import BROADCAST, Frame, Packet
from toolkit.acoustic.routing import Routing
from toolkit.core.alarm import Alarm
from toolkit.core.program import Process

HEADER_BYTES = 12
"""Type 1, source 2, sequence 2, previous hop 2, depth 2, ttl 1, CRC 2."""


@dataclass
class Held:
    """A packet in the holding queue Q1."""

    packet: Packet
    hops: int
    send_s: float
    cancelled: bool = False


@dataclass
class DbrState:
    """Q1, the packets held until their sending time, and Q2, the packets dealt with (bounded)."""

    held: dict[tuple[int, int], Held] = field(default_factory=dict)
    done: OrderedDict[tuple[int, int], None] = field(default_factory=OrderedDict)


@final
class Dbr(Routing):
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

    def init(self, node: SeaNode) -> DbrState:
        return DbrState()

    def originate(self, node: SeaNode, packet: Packet) -> None:
        self._remember(node.state, packet)
        node.ctx.process(self._send(node, packet, 1))

    def on_receive(self, node: SeaNode, frame: Frame, snr_db: float) -> None:
        packet = frame.packet
        if packet is None:
            return
        state: DbrState = node.state
        if node.is_sink:
            if packet.key not in state.done:
                self._remember(state, packet)
            node.deliver(packet, frame.hops)
            return
        gain_m = frame.depth_m - node.depth_m
        held = state.held.get(packet.key)
        if held is not None:
            if gain_m < self.threshold_m:  # somebody shallower, or hardly deeper, has sent it
                held.cancelled = True
                del state.held[packet.key]
                self._remember(state, packet)
                node.book.drop(packet, "suppressed")
            else:
                send_s = node.now + self.hold_s(gain_m)
                if send_s < held.send_s:
                    self._hold(node, held, send_s)
            return
        if packet.key in state.done or gain_m < self.threshold_m:
            return
        if frame.hops >= self.ttl:
            packet.reason = "ttl"
            return
        node.book.hold(packet)
        held = Held(packet, frame.hops + 1, 0.0)
        state.held[packet.key] = held
        self._hold(node, held, node.now + self.hold_s(gain_m))

    def _hold(self, node: SeaNode, held: Held, send_s: float) -> None:
        held.send_s = send_s
        Alarm(node.ctx.world.env, lambda _: self._due(node, held, send_s)).ring_at(send_s)

    def _due(self, node: SeaNode, held: Held, send_s: float) -> None:
        if held.cancelled or held.send_s != send_s:  # overtaken by an earlier sending time
            return
        held.cancelled = True
        del node.state.held[held.packet.key]
        self._remember(node.state, held.packet)
        node.ctx.process(self._send(node, held.packet, held.hops))

    def _send(self, node: SeaNode, packet: Packet, hops: int) -> Process:
        yield node.send_frame(
            Frame("data", node.id, BROADCAST, HEADER_BYTES + packet.nbytes, packet, hops, node.depth_m)
        )
        node.book.drop(packet, "")

    def _remember(self, state: DbrState, packet: Packet) -> None:
        state.done[packet.key] = None
        if len(state.done) > self.history:
            state.done.popitem(last=False)
