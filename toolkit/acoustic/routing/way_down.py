"""The way down: from a sink to a node, for protocols that only know the way up to any sink.

Sinks are joined ashore by radio, which is free and takes `shore_s`. A packet for a node therefore goes up to whatever sink the protocol
finds, over to the sink that knows the nearest way, and down along the neighbours that packets of that node were heard from: every node
remembers, for each source, the neighbour that sent a packet of it with the fewest transmissions behind it (what RPL calls storing mode).
That takes no frame of its own, since the number of transmissions follows from the ttl that headers hold. Hops are acknowledged. Where no
way is known, or one does not answer, the packet is flooded, `ttl` hops far.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, final

from pydantic import Field

from toolkit.acoustic.answer_time import AnswerTime
from toolkit.acoustic.node import SeaNode
from toolkit.acoustic.packets import BROADCAST, EVERYBODY, Frame, Packet
from toolkit.acoustic.routing.forwarding import Carried, Forwarder
from toolkit.acoustic.routing.holding import send_copy
from toolkit.core.part import Spec
from toolkit.core.program import Process

DOWN_BYTES = 14
"""Type 1, source 2, sequence 2, destination 2, previous 2, next 2, ttl 1, CRC 2."""
ACK_BYTES = 11
"""Type 1, from 2, to 2, source 2, sequence 2, CRC 2."""


@final
class WaySettings(Spec):
    """How packets find their way from sinks to nodes."""

    shore_s: float = Field(0.1, ge=0, description="time that a packet takes from one sink to another, by radio ashore")
    way_s: float = Field(21_600.0, gt=0, description="how long a way is remembered that nothing was heard of")
    tries: int = Field(4, ge=1, le=20, description="transmissions to one neighbour at most")
    range_m: float = Field(1500.0, gt=0, description="range that the first acknowledgement timeouts allow for")
    guard_s: float = Field(1.0, ge=0, description="guard of the acknowledgement timeout, for the neighbour's own queue")
    backoff_s: float = Field(1.0, ge=0, description="W of the back-off U(0, 2^r W)")
    jitter_s: float = Field(2.0, ge=0, description="longest random delay before a flooded packet is repeated")
    ttl: int = Field(8, ge=1, le=255, description="transmissions of a packet on its way down at most")
    announce_ttl: int = Field(1, ge=1, le=255, description="transmissions of a packet that is for everybody at most; 1: the sinks' alone")
    lifetime_s: float = Field(900.0, gt=0, description="age at which a packet on its way down is given up")
    at_once: int = Field(8, ge=1, description="packets on their way down that one node hands on at the same time")
    queue_limit: int = Field(200, ge=1, description="packets on their way down in a node's care at most")


class Way(NamedTuple):
    """How a node reaches another."""

    neighbour: int
    hops: int
    heard_s: float


class DownHeader(NamedTuple):
    """What a frame on the way down says beside addresses."""

    flooded: bool
    ttl: int


class DownAck(NamedTuple):
    """Which packet an acknowledgement is for."""

    key: tuple[int, int]


class DownCarried(Carried):
    """A packet on its way down in a node's care."""

    __slots__ = ("flood", "ttl")

    def __init__(self, packet: Packet, hops: int, ttl: int, *, flood: bool) -> None:
        super().__init__(packet, hops)
        self.ttl = ttl
        self.flood = flood


class DownRouter:
    """What one node or sink knows of the ways to others, and the packets that it carries there."""

    def __init__(self, spec: WaySettings, node: SeaNode, hear: Callable[[int, Packet, int], None]) -> None:
        """*hear* is called with this node, a packet for everybody and its hops, for every copy that is heard."""
        self.spec = spec
        self.node = node
        self._hear = hear
        self.forwarder: Forwarder[DownCarried] = Forwarder(node, spec.queue_limit)
        self.ways: dict[int, Way] = {}
        self._flooded: set[int] = set()
        self._handing_on: list[DownCarried] = []
        self._rng = node.ctx.rng("way_down")
        self._answers = AnswerTime()

    def way_to(self, target: int) -> Way | None:
        """Return the way to a node, if one is known that was heard of lately."""
        way = self.ways.get(target)
        return way if way is not None and self.node.now - way.heard_s <= self.spec.way_s else None

    def take(self, packet: Packet, hops: int, *, flood: bool = False) -> None:
        """Carry a packet on that this node has not held so far; with *flood* whatever ways are known."""
        self.node.tracker.hold(packet)
        self.carry(packet, hops, flood=flood)

    def carry(self, packet: Packet, hops: int, *, flood: bool = False) -> None:
        """Carry a packet on that this node holds."""
        self._accept(DownCarried(packet, hops, self.spec.ttl, flood=flood))

    def _accept(self, carried: DownCarried) -> None:
        self.forwarder.accept(carried, None)
        self._start()

    def _start(self) -> None:
        """Begin to hand on what waits, the oldest first, as far as that may be done at once."""
        waiting = [carried for carried in self.forwarder.queue if carried not in self._handing_on]
        for carried in waiting[: self.spec.at_once - len(self._handing_on)]:
            self._handing_on.append(carried)
            self.node.ctx.process(self._hand_on(carried))

    def _hand_on(self, carried: DownCarried) -> Process:
        reason = yield from self._carry(carried)
        self._handing_on.remove(carried)
        self.forwarder.let_go(carried, reason)
        self._start()

    def announce(self, packet: Packet) -> None:
        """A sink tells everybody around it."""
        self.node.tracker.hold(packet)
        self._flood(packet, 0, self.spec.announce_ttl)

    def on_receive(self, frame: Frame) -> bool:
        """Learn from a frame that was decoded, and act on it if it is on the way down; False for those that are the protocol's."""
        body, packet, me = frame.body, frame.packet, self.node.id
        self._learn(frame.src, frame.src, 1)
        if isinstance(body, DownAck):
            if frame.dst == me:
                self.forwarder.answered(body.key, frame.src)
            return True
        if isinstance(body, DownHeader) and packet is not None:
            self.forwarder.answered(packet.key, frame.src)  # heard carrying it on
            if body.flooded:
                self._hear_flood(packet, frame.hops, body.ttl)
            elif frame.dst == me:
                self._take_over(frame, packet, body)
            return True
        if packet is not None:
            self._learn(packet.src, frame.src, frame.hops)
        return False

    def _learn(self, target: int, neighbour: int, hops: int) -> None:
        """Remember the shortest way; one that was not heard of for a while gives way to any other."""
        if target == self.node.id:
            return
        known = self.way_to(target)
        if known is None or hops <= known.hops:
            self.ways[target] = Way(neighbour, hops, self.node.now)

    def _take_over(self, frame: Frame, packet: Packet, header: DownHeader) -> None:
        node, forwarder = self.node, self.forwarder
        if not forwarder.knows(packet) and packet.dst != node.id and forwarder.room <= 0:
            node.tracker.refuse(packet, "queue_full")
            return
        node.send_frame(Frame("ack", node.id, frame.src, ACK_BYTES, depth_m=node.depth_m, body=DownAck(packet.key)))
        if packet.dst == node.id:
            node.tracker.deliver(packet, node.id, frame.hops)
        elif forwarder.knows(packet):
            node.tracker.duplicates += 1
        elif header.ttl <= 1:
            node.tracker.refuse(packet, "ttl")
        else:
            node.tracker.hold(packet)
            self._accept(DownCarried(packet, frame.hops, header.ttl - 1, flood=False))

    def _hear_flood(self, packet: Packet, hops: int, ttl: int) -> None:
        node = self.node
        if packet.dst == EVERYBODY and not node.is_sink:
            if not packet.delivered:
                node.tracker.deliver(packet, node.id, hops)
            self._hear(node.id, packet, hops)
        if packet.dst == node.id:
            node.tracker.deliver(packet, node.id, hops)
        elif packet.id not in self._flooded and ttl > 1:
            node.tracker.hold(packet)
            self._flood(packet, hops, ttl - 1)

    def _carry(self, carried: DownCarried) -> Process:
        """Hand a packet on along the way that is known, or flood it; return why it was given up, if it was."""
        node, spec, packet = self.node, self.spec, carried.packet
        if node.now - packet.created_s > spec.lifetime_s:
            return "lifetime"
        way = None if carried.flood else self.way_to(packet.dst)
        if way is not None:
            header, neighbour = DownHeader(flooded=False, ttl=carried.ttl), way.neighbour
            answer = yield from self.forwarder.offer(
                packet, lambda: self._frame(carried, neighbour, header), tries=spec.tries, timeout_s=self._timeout_s(),
                backoff_s=spec.backoff_s,
            )
            if answer is not None:
                if answer.attempt == 0:
                    self._answers.observe(answer.waited_s)
                return ""
            if self.ways.get(packet.dst) == way:
                del self.ways[packet.dst]
        if packet.id in self._flooded:
            return "retries"
        node.tracker.hold(packet)  # the flood's copy; the one in the queue is let go of now
        self._flood(packet, carried.hops, carried.ttl)
        return ""

    def _flood(self, packet: Packet, hops: int, ttl: int) -> None:
        """Send a copy that this node holds to all neighbours, a little later, and let go of it."""
        node = self.node
        self._flooded.add(packet.id)
        frame = Frame(
            "data", node.id, BROADCAST, DOWN_BYTES + packet.nbytes, packet=packet, hops=hops + 1, depth_m=node.depth_m,
            body=DownHeader(flooded=True, ttl=ttl),
        )
        wait_s = self.spec.jitter_s * float(self._rng.random())

        def send(_: object) -> None:
            node.ctx.process(send_copy(node, frame))

        node.ctx.world.env.call_in(wait_s, send)

    def _frame(self, carried: DownCarried, neighbour: int, header: DownHeader) -> Frame:
        node, packet = self.node, carried.packet
        return Frame(
            "data", node.id, neighbour, DOWN_BYTES + packet.nbytes, packet=packet, hops=carried.hops + 1, depth_m=node.depth_m, body=header
        )

    def _timeout_s(self) -> float:
        """How long after the end of a frame its acknowledgement may take, by the answers so far."""
        spec = self.spec
        longest_s = self._answers.longest_s
        if longest_s is None:
            longest_s = 2.0 * spec.range_m / 1500.0 + self.node.modem.frame_s(ACK_BYTES)
        return longest_s + spec.guard_s


class Shore:
    """What joins the sinks: a packet that one of them has, and is not for it, goes on from the sink that is nearest to its end."""

    def __init__(self, spec: WaySettings, nodes: list[SeaNode], routers: list[DownRouter]) -> None:
        self._spec = spec
        self._nodes = nodes
        self._routers = routers
        self._sinks = [node.id for node in nodes if node.is_sink]

    def come_ashore(self, sink: SeaNode, packet: Packet, hops: int) -> None:
        """*sink* has a packet that is for another sink or for a node."""
        if packet.ashore or packet.delivered:
            sink.tracker.duplicates += 1
            return
        packet.ashore = True
        sink.tracker.hold(packet)
        self.send_on(sink, packet, hops)

    def send_on(self, sink: SeaNode, packet: Packet, hops: int) -> None:
        """Let a packet that *sink* holds go on from the sinks that are nearest to its end; from all of them where no way is known."""
        packet.ashore = True
        if packet.dst in self._sinks:
            self._radio(sink, packet, partial(self._nodes[packet.dst].tracker.deliver, packet, packet.dst, hops), packet.dst)
            return
        known = [(way.hops, -way.heard_s, each) for each in self._sinks if (way := self._routers[each].way_to(packet.dst)) is not None]
        chosen = [min(known)[2]] if known else self._sinks
        for each in chosen:
            sink.tracker.hold(packet)
            self._radio(sink, packet, partial(self._routers[each].take, packet, hops, flood=not known), each)
        sink.tracker.drop(packet, "")

    def announce(self, sink: SeaNode, packet: Packet) -> None:
        """Let all sinks tell everybody a packet that *sink* has made."""
        packet.ashore = True
        for each in self._sinks:
            sink.tracker.hold(packet)
            self._radio(sink, packet, partial(self._routers[each].announce, packet), each)

    def _radio(self, sink: SeaNode, packet: Packet, arrive: Callable[[], None], to: int) -> None:
        """Call *arrive* once the copy that *sink* holds is at the sink *to*, and let go of it then."""

        def there(_: object) -> None:
            arrive()
            sink.tracker.drop(packet, "")

        sink.ctx.world.env.call_in(0.0 if to == sink.id else self._spec.shore_s, there)
