"""EEDBR: energy-efficient depth-based routing, in which the sender names those who may forward."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, final

from pydantic import Field

from toolkit.acoustic.node import SeaNode
from toolkit.acoustic.packets import BROADCAST, Frame, Packet
from toolkit.acoustic.routing import LinkHistory, Router, Routing
from toolkit.acoustic.routing.holding import Held, HoldingQueue, pass_over, send_copy
from toolkit.core.program import Process

HEADER_BYTES = 13
"""Type 1, source 2, sequence 2, previous hop 2, depth 2, ttl 1, count 1, CRC 2; and 2 per node listed."""
HELLO_BYTES = 11
"""Type 1, id 2, depth 2, energy 1, delivery ratio 1, its age 2, CRC 2."""
EXPIRES = 3.0
"""Hello periods after which a silent neighbour is forgotten."""
NEW_S = 10.0
"""Within this time of the beginning nodes without a history say hello for the first time."""


class EedbrHello(NamedTuple):
    """What a node tells its neighbours of itself, and of the delivery ratio that a sink told last."""

    energy: float
    ratio: float
    told_s: float
    """When a sink told the ratio."""


class Listed(NamedTuple):
    """The nodes that may forward, the first at once."""

    nodes: tuple[int, ...]


@dataclass(eq=False)
class Peer:
    """A neighbour as its last hello told."""

    depth_m: float
    energy: float
    heard_s: float


@final
class Eedbr(Routing["EedbrRouter"]):
    """EEDBR (Wahid, Lee and Kim 2011): of the shallower neighbours, those with most energy forward, one after the other.

    Nodes say hello every `hello_s` with depth and residual energy. A sender lists up to `listed` of its shallower neighbours by
    residual energy. The first forwards at once; one of rank r > 1 holds the packet for (1 - E / E0) `longest_s` + 2^(r - 2)
    `priority_s` and keeps silent if it overhears another copy; who is not listed drops it. While fewer packets arrive than
    `target_ratio`, overhearing silences only with probability ratio / target, so that more copies are under way.

    Source: the paper as recalled, checked against one implementation. Departures: the sinks, joined by radio, put the ratio into
    their hellos and nodes pass it on in theirs (the paper leaves open how it gets about); energy is told in 1/255; sinks listen to
    every frame, and are not listed.
    """

    hello_s: float = Field(100.0, gt=0, description="mean hello period T_h, varied by half of it either way")
    listed: int = Field(3, ge=1, le=32, description="nodes that a sender lists at most")
    longest_s: float = Field(5.0, ge=0, description="T_max: holding time of an empty battery")
    priority_s: float = Field(1.0, gt=0, description="p of rank 2, doubled for every rank after it")
    target_ratio: float = Field(0.9, ge=0, le=1, description="delivery ratio below which overhearing silences less; 0: never")
    ttl: int = Field(20, ge=1, le=255, description="transmissions of a copy at most")
    history: int = Field(256, ge=1, description="packets remembered")

    def hold_s(self, rank: int, energy: float) -> float:
        """Holding time of the listed node of *rank* (from 1) whose battery is at *energy* = E / E0."""
        return 0.0 if rank == 1 else (1.0 - energy) * self.longest_s + 2.0 ** (rank - 2) * self.priority_s

    def init(self, node: SeaNode[EedbrRouter]) -> EedbrRouter:
        return EedbrRouter(self, node)


class EedbrRouter(Router):
    """Neighbours, the packets held, and the delivery ratio as it was told last, at one node."""

    def __init__(self, spec: Eedbr, node: SeaNode) -> None:
        self.spec = spec
        self.node = node
        self.queue = HoldingQueue(node, spec.history)
        self.peers: dict[int, Peer] = {}
        self.ratio = 1.0
        self.told_s = float("-inf")

    def learn(self, history: LinkHistory) -> None:
        """Know whoever was heard in the last beacons of the history, which stand for hellos, one by one; batteries count as full."""
        me, steps = self.node.id, len(history.t_s)
        for other in range(history.heard.shape[1]):
            heard = history.heard[:, other, me].nonzero()[0]
            if other != me and len(heard):
                last = int(heard[-1])
                self.peers[other] = Peer(float(history.depth_m[last, other]), 1.0, (last - steps) * self.spec.hello_s)

    def processes(self) -> Iterable[Process]:
        yield self._hellos()

    def originate(self, packet: Packet) -> None:
        self.queue.finish(packet.key)
        self._send(packet, 1)

    def on_receive(self, frame: Frame, snr_db: float) -> None:
        node, spec, body = self.node, self.spec, frame.body
        if isinstance(body, EedbrHello):
            self.peers[frame.src] = Peer(frame.depth_m, body.energy, node.now)
            if body.told_s > self.told_s and not node.is_sink:
                self.ratio, self.told_s = body.ratio, body.told_s
            return
        packet = frame.packet
        if packet is None:
            return
        if node.is_sink:
            node.deliver(packet, frame.hops)
            return
        key = packet.key
        if self.queue.get(key) is not None:
            if spec.target_ratio == 0.0 or node.rng.random() < self.ratio / spec.target_ratio:
                self.queue.silence(key)
            return
        listed: Listed = body
        if self.queue.is_done(key):
            return
        if node.id not in listed.nodes:
            pass_over(packet)
            return
        if frame.hops >= spec.ttl:
            node.tracker.refuse(packet, "ttl")
            return
        wait_s = spec.hold_s(listed.nodes.index(node.id) + 1, node.residual_energy)
        self.queue.hold(packet, frame.hops, wait_s, None, self._due)

    def _due(self, held: Held) -> None:
        self._send(held.packet, held.hops + 1)

    def _send(self, packet: Packet, hops: int) -> None:
        node, listed = self.node, self.candidates()
        nbytes = HEADER_BYTES + 2 * len(listed) + packet.nbytes
        frame = Frame("data", node.id, BROADCAST, nbytes, packet=packet, hops=hops, depth_m=node.depth_m, body=Listed(listed))
        node.ctx.process(send_copy(node, frame))

    def candidates(self) -> tuple[int, ...]:
        """The shallower neighbours heard lately, most energy first, the shallower first among equals."""
        since_s = self.node.now - EXPIRES * self.spec.hello_s
        peers = [
            (-peer.energy, peer.depth_m, other) for other, peer in self.peers.items()
            if 0.0 < peer.depth_m < self.node.depth_m and peer.heard_s >= since_s
        ]
        return tuple(other for _, _, other in sorted(peers)[: self.spec.listed])

    def _hellos(self) -> Process:
        node, hello_s = self.node, self.spec.hello_s
        first_s = hello_s if self.peers else min(NEW_S, hello_s)
        yield node.ctx.sleep(first_s * node.rng.random())
        while True:
            if node.is_sink:
                self.ratio, self.told_s = round(255 * node.tracker.ratio_ashore()) / 255, node.now
            energy = round(255 * node.residual_energy) / 255
            hello = EedbrHello(energy, self.ratio, self.told_s)
            yield node.send_frame(Frame("hello", node.id, BROADCAST, HELLO_BYTES, depth_m=node.depth_m, body=hello))
            yield node.ctx.sleep(hello_s * (0.5 + node.rng.random()))
