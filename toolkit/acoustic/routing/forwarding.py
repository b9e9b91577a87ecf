"""Forwarding hop by hop: packets in one node's care, handed on to one neighbour at a time until it has acknowledged.

Where a packet goes next, and when, is the protocol's own affair; taking packets in, refusing them, waiting for answers, trying again and
letting go is the same for all that forward this way, and stands here.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple

from simpy.events import Event
from typing_extensions import TypeVar

from toolkit.acoustic.node import SeaNode
from toolkit.acoustic.packets import Frame, Packet
from toolkit.core.program import Process

Key = tuple[int, int]


@dataclass(eq=False, slots=True)
class Carried:
    """A packet in a node's care."""

    packet: Packet
    hops: int
    """Transmissions that brought it here."""


C = TypeVar("C", bound=Carried, default=Carried)
"""What a protocol remembers of a packet in its care."""


class Answer(NamedTuple):
    """An acknowledgement that came."""

    attempt: int
    """After how many failures."""
    waited_s: float
    """From the end of the frame to the end of the answer."""
    value: Any


class Forwarder(Generic[C]):
    """The queue of one node, and what it waits for."""

    def __init__(self, node: SeaNode, queue_limit: int) -> None:
        self.node = node
        self.queue: list[C] = []
        self.accepted: dict[Key, Any] = {}
        """Packets taken so far, and what the protocol remembers of each for good."""
        self._limit = queue_limit
        self._idle: Event | None = None
        self._awaited: dict[Hashable, tuple[int, Event]] = {}

    # Taking packets

    @property
    def room(self) -> int:
        """How many more packets can be taken."""
        return self._limit - len(self.queue)

    def knows(self, packet: Packet) -> bool:
        """Whether this node has taken the packet before."""
        return packet.key in self.accepted

    def refuses(self, packet: Packet) -> bool:
        """Whether there is no room for a new packet; it is told why, and silence sends it elsewhere."""
        if self.node.ends(packet) or self.knows(packet) or self.room > 0:
            return False
        self.node.tracker.refuse(packet, "queue_full")
        return True

    def take(self, frame: Frame, carried: C, note: Any) -> None:
        """Take the packet of a frame that is acknowledged: deliver it, count it as a duplicate, or hold it and carry it on."""
        packet = carried.packet
        if self.node.ends(packet):
            self.accepted[packet.key] = note
            self.node.deliver(packet, frame.hops)
        elif self.knows(packet):
            self.node.tracker.duplicates += 1
        else:
            self.node.tracker.hold(packet)
            self.accept(carried, note)

    def accept(self, carried: C, note: Any) -> None:
        """Put a packet that this node holds into the queue."""
        if self.room <= 0:
            self.node.tracker.drop(carried.packet, "queue_full")
            return
        self.accepted[carried.packet.key] = note
        self.queue.append(carried)
        if self._idle is not None:
            self._idle.succeed()
            self._idle = None

    def let_go(self, carried: C, reason: str = "") -> None:
        """A packet is no longer in this node's care: it was handed on, or is given up for a *reason*."""
        self.queue.remove(carried)
        self.node.tracker.drop(carried.packet, reason)

    # Handing them on

    def packets(self) -> Process:
        """Wait until there is a packet in the queue."""
        while not self.queue:
            self._idle = self.node.ctx.world.env.event()
            yield self._idle

    def one_by_one(self, carry: Callable[[C], Process]) -> Process:
        """Carry the packets on, one after the other; *carry* returns why one was given up, or nothing."""
        while True:
            yield from self.packets()
            first = self.queue[0]
            reason = yield from carry(first)
            self.let_go(first, reason)

    def await_answer(self, token: Hashable, by: int) -> Event:
        """An event that fires, with what the answer says, when node *by* answers to *token*."""
        event = self.node.ctx.world.env.event()
        self._awaited[token] = (by, event)
        return event

    def answered(self, token: Hashable, by: int, value: Any = None) -> None:
        """Note that node *by* has answered to *token*; what nobody waits for is passed over."""
        awaited = self._awaited.get(token)
        if awaited is not None and awaited[0] == by:
            del self._awaited[token]
            awaited[1].succeed(value)

    def wait(self, token: Hashable, answer: Event, timeout_s: float) -> Process:
        """Wait for an answer, no longer than *timeout_s*; return whether it came."""
        yield answer | self.node.ctx.sleep(timeout_s)
        self._awaited.pop(token, None)
        return answer.triggered

    def offer(self, packet: Packet, frame: Callable[[], Frame], *, tries: int, timeout_s: float, backoff_s: float) -> Process:
        """Send a packet to one neighbour until it acknowledges, up to *tries* times; return its `Answer`, or None.

        After the r-th failure follows a wait of U(0, 2^r *backoff_s*). A frame that the MAC dropped is not waited for.
        """
        node = self.node
        for attempt in range(tries):
            outgoing = frame()
            answer = self.await_answer(packet.key, outgoing.dst)
            sent = yield node.send_frame(outgoing)
            sent_s = node.now
            came = answer.triggered
            if sent and not came:
                came = yield from self.wait(packet.key, answer, timeout_s)
            if came:
                return Answer(attempt, node.now - sent_s, answer.value)
            self._awaited.pop(packet.key, None)
            yield node.ctx.sleep(2**attempt * backoff_s * node.rng.random())
        return None
