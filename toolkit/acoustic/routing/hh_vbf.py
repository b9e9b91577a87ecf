"""HH-VBF: hop-by-hop vector-based forwarding, with a vector of its own for each hop."""

from __future__ import annotations

import math
from typing import final

import numpy as np
from pydantic import Field

from toolkit.acoustic.node import SeaNode
from toolkit.acoustic.packets import BROADCAST, Frame, Packet
from toolkit.acoustic.routing import Router, Routing
from toolkit.acoustic.routing.holding import Held, HoldingQueue, pass_over, send_copy
from toolkit.acoustic.routing.vectors import VectorHeader, advance_m, distance_to_line_m

HEADER_BYTES = 22
"""Type 1, source 2, sequence 2, previous hop 2, ttl 1, CRC 2; places of sink and forwarder, 6 each."""


@final
class HhVbf(Routing["HhVbfRouter"]):
    """Hop-by-hop VBF (Nicolaou et al. 2007): the pipe leads from each forwarder to the sink, so that it bends where nodes are.

    A node within `pipe_m` of the line from the forwarder to the sink holds the packet as in VBF, with
    alpha' = (R - d cos(theta)) / R. At the end it forwards only if it is more than `beta_m` away from the line of every copy that it
    overheard meanwhile: then it covers water that the others do not.

    Source: the rules as another project's implementation reads the paper; it advises a pipe as wide as the range and beta = 0.75 R.
    Departures: as for VBF; each forwarder aims at the sink nearest to itself.
    """

    range_m: float = Field(900.0, gt=0, description="nominal radio range R")
    pipe_m: float = Field(900.0, gt=0, description="radius W of each hop's pipe")
    beta_m: float = Field(675.0, ge=0, description="least distance from the vectors of overheard copies")
    delay_s: float = Field(1.0, gt=0, description="longest delay T_delay for desirableness")
    speed_m_s: float = Field(1500.0, gt=0, description="sound speed v0 that the waiting time assumes")
    ttl: int = Field(20, ge=1, le=255, description="transmissions of a copy at most")
    history: int = Field(256, ge=1, description="packets remembered")

    def alpha(self, advanced_m: float) -> float:
        """The desirableness factor of a node that gains *advanced_m* = d cos(theta), in [0, 2]."""
        return min(2.0, max(0.0, (self.range_m - advanced_m) / self.range_m))

    def wait_s(self, alpha: float, distance_m: float) -> float:
        """How long a node *distance_m* from the forwarder holds a packet."""
        return math.sqrt(alpha) * self.delay_s + max(0.0, self.range_m - distance_m) / self.speed_m_s

    def init(self, node: SeaNode[HhVbfRouter]) -> HhVbfRouter:
        return HhVbfRouter(self, node)


class HhVbfRouter(Router):
    """HH-VBF at one node: the packets held and done with."""

    def __init__(self, spec: HhVbf, node: SeaNode) -> None:
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
        if queue.is_done(packet.key):
            pass_over(packet)
            return
        header: VectorHeader = frame.body
        here = node.position_m
        offset_m = distance_to_line_m(here, header.origin_m, header.target_m)
        held = queue.get(packet.key)
        if held is not None:
            held.note.append(offset_m)
        elif offset_m > spec.pipe_m:
            pass_over(packet)
        elif frame.hops >= spec.ttl:
            node.tracker.refuse(packet, "ttl")
        else:
            alpha = spec.alpha(advance_m(here, header.forwarder_m, header.target_m))
            wait_s = spec.wait_s(alpha, float(np.linalg.norm(here - header.forwarder_m)))
            queue.hold(packet, frame.hops, wait_s, [], self._due)

    def _due(self, held: Held) -> None:
        if held.note and min(held.note) <= self.spec.beta_m:
            self.node.tracker.drop(held.packet, "suppressed")
        else:
            self._send(held.packet, held.hops + 1)

    def _send(self, packet: Packet, hops: int) -> None:
        node = self.node
        here = node.position_m
        header = VectorHeader(here, node.nearest_sink_m(here), here)  # the vector changes with every hop
        frame = Frame("data", node.id, BROADCAST, HEADER_BYTES + packet.nbytes, packet=packet, hops=hops, depth_m=node.depth_m, body=header)
        node.ctx.process(send_copy(node, frame))
