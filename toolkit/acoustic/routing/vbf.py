"""VBF: vector-based forwarding inside a pipe from source to sink."""

from __future__ import annotations

import math
from typing import final

from pydantic import Field

from toolkit.acoustic.node import SeaNode
from toolkit.acoustic.packets import BROADCAST, Frame, Packet
from toolkit.acoustic.routing import Router, Routing
from toolkit.acoustic.routing.holding import Held, HoldingQueue, pass_over, send_copy
from toolkit.acoustic.routing.vectors import VectorHeader, advance_m, distance_to_line_m

HEADER_BYTES = 28
"""Type 1, source 2, sequence 2, previous hop 2, ttl 1, CRC 2; places of source, sink and forwarder, 6 each."""


@final
class Vbf(Routing["VbfRouter"]):
    """Vector-based forwarding (Xie, Cui and Lao 2006): only nodes near the line from source to sink forward, the best placed first.

    A node at distance p from the line forwards if p <= `pipe_m`. Its desirableness factor is

        alpha = p / W + (R - d cos(theta)) / R   in [0, 3],

    with d its distance from the forwarder and theta the angle at the forwarder between node and sink; it waits
    sqrt(alpha) `delay_s` + (R - d) / v0. Of n copies overheard meanwhile, each gives an alpha as well, and the node forwards only if
    the least of them all is below `alpha_c` / 2^n.

    Every node knows its place, and the places of the sinks; a packet is meant for the sink nearest to its source, and any sink takes
    it. Departures: a node farther from the forwarder than the nominal range R waits no negative time, and its alpha is kept in
    [0, 3]; with no copy overheard a node forwards, whatever its alpha.
    """

    range_m: float = Field(900.0, gt=0, description="nominal radio range R")
    pipe_m: float = Field(500.0, gt=0, description="radius W of the routing pipe")
    delay_s: float = Field(1.0, gt=0, description="longest delay T_delay for desirableness")
    alpha_c: float = Field(1.5, gt=0, le=3, description="initial threshold that overheard copies lower")
    speed_m_s: float = Field(1500.0, gt=0, description="sound speed v0 that the waiting time assumes")
    ttl: int = Field(20, ge=1, le=255, description="transmissions of a copy at most")
    history: int = Field(256, ge=1, description="packets remembered")

    def alpha(self, offset_m: float, advanced_m: float) -> float:
        """The desirableness factor of a node *offset_m* from the line that gains *advanced_m* = d cos(theta)."""
        return min(3.0, max(0.0, offset_m / self.pipe_m + (self.range_m - advanced_m) / self.range_m))

    def wait_s(self, alpha: float, distance_m: float) -> float:
        """How long a node *distance_m* from the forwarder holds a packet."""
        return math.sqrt(alpha) * self.delay_s + max(0.0, self.range_m - distance_m) / self.speed_m_s

    def init(self, node: SeaNode[VbfRouter]) -> VbfRouter:
        return VbfRouter(self, node)


class VbfRouter(Router):
    """VBF at one node: the packets held and done with."""

    def __init__(self, spec: Vbf, node: SeaNode) -> None:
        self.spec = spec
        self.node = node
        self.queue = HoldingQueue(node, spec.history)

    def originate(self, packet: Packet) -> None:
        node = self.node
        self.queue.finish(packet.key)
        here = node.position_m
        header = VectorHeader(here, node.nearest_sink_m(here), here)
        node.ctx.process(send_copy(node, self._frame(packet, 1, header)))

    def on_receive(self, frame: Frame, snr_db: float) -> None:
        node, spec, queue, packet = self.node, self.spec, self.queue, frame.packet
        if packet is None:
            return
        if node.is_sink:
            node.deliver(packet, frame.hops)
            return
        if queue.is_done(packet.key):
            pass_over(packet)
            return
        header: VectorHeader = frame.body
        here = node.position_m
        offset_m = distance_to_line_m(here, header.origin_m, header.target_m)
        alpha = spec.alpha(offset_m, advance_m(here, header.forwarder_m, header.target_m))
        held = queue.get(packet.key)
        if held is not None:
            held.note[1].append(alpha)
        elif offset_m > spec.pipe_m:
            queue.finish(packet.key)
            pass_over(packet)
        elif frame.hops >= spec.ttl:
            node.tracker.refuse(packet, "ttl")
        else:
            distance_m = float(((here - header.forwarder_m) ** 2).sum() ** 0.5)
            queue.hold(packet, frame.hops, spec.wait_s(alpha, distance_m), (header, [alpha]), self._due)

    def _due(self, held: Held) -> None:
        node, (header, alphas) = self.node, held.note
        copies = len(alphas) - 1
        if copies and min(alphas) >= self.spec.alpha_c / 2**copies:
            node.tracker.drop(held.packet, "suppressed")
            return
        header = header._replace(forwarder_m=node.position_m)
        node.ctx.process(send_copy(node, self._frame(held.packet, held.hops + 1, header)))

    def _frame(self, packet: Packet, hops: int, header: VectorHeader) -> Frame:
        node = self.node
        return Frame("data", node.id, BROADCAST, HEADER_BYTES + packet.nbytes, packet=packet, hops=hops, depth_m=node.depth_m, body=header)
