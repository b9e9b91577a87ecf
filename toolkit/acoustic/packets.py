"""Packets, the frames that carry them, and the book that knows what became of every packet."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Protocol

import numpy as np
from simpy.events import Event

from toolkit.acoustic.phy.kernel import OUTCOMES
from toolkit.core.alarm import Clock
from toolkit.core.context import Delivery
from toolkit.core.row_buffer import StringTable
from toolkit.core.world import World
from toolkit.errors import ScenarioError

BROADCAST = -1
ANY_SINK = -1
EVERYBODY = -2
"""Where a packet goes that is for all who hear it; it counts as delivered with the first of them."""


class DropReasons:
    """Why every packet lost a copy last: a number of a text per packet, where the compiled medium can write it."""

    def __init__(self) -> None:
        self.strings = StringTable(OUTCOMES)
        self.codes = np.zeros(256, dtype=np.int16)

    def make_room(self, packet: int) -> None:
        """Let there be a place for *packet*; `codes` may be another array then."""
        if packet >= len(self.codes):
            self.codes = np.concatenate([self.codes, np.zeros_like(self.codes)])


@dataclass(eq=False, slots=True)
class Packet:
    """What is carried from its source to a sink, or to one node or sink. `id` counts within a run, `seq` within its source."""

    id: int
    src: int
    seq: int
    nbytes: int
    created_s: float
    done: Event
    drop_reasons: DropReasons = field(repr=False)
    dst: int = ANY_SINK
    """The node or sink that it is for."""
    kind: str = "data"
    """What frames that carry it are called in the ledger."""
    body: object = field(default=None, repr=False)
    """What it says, where that matters; its size is part of `nbytes`."""
    ashore: bool = False
    """Whether a sink has it that it is not for, so that the sinks see to the rest of its way."""
    copies: int = 0
    """How many nodes or frames in the air still hold a copy that may yet get somewhere."""
    delivered: bool = False
    key: tuple[int, int] = field(init=False)
    """What a header identifies the packet by."""

    def __post_init__(self) -> None:
        self.key = (self.src, self.seq)

    @property
    def reason(self) -> str:
        """Why the last copy was dropped, or a reception of it failed."""
        return self.drop_reasons.strings.strings[self.drop_reasons.codes.item(self.id)]

    @reason.setter
    def reason(self, reason: str) -> None:
        self.drop_reasons.codes[self.id] = self.drop_reasons.strings.code(reason)


@dataclass(eq=False, slots=True)
class Frame:
    """What a modem sends: kind and length are what the channel sees, the rest is the header the receiver reads."""

    kind: str
    """``data``, ``ack`` or a protocol's own control kind."""
    src: int
    dst: int
    nbytes: int
    _: KW_ONLY
    packet: Packet | None = None
    hops: int = 0
    """Transmissions of this copy so far, this one included."""
    depth_m: float = 0.0
    """Depth of the sender."""
    body: Any = None
    """Further header fields of the protocol; their size is part of `nbytes`."""
    until_s: float = math.inf
    """When what it carries has had its life: a modem that has not begun to send it by then drops it (expired)."""
    sent: Event | None = field(default=None, repr=False)
    """Fires when the last bit has left the modem."""


class NodeTracker(Protocol):
    """What a node needs of the book of packets."""

    duplicates: int

    def hold(self, packet: Packet) -> None: ...

    def drop(self, packet: Packet, reason: str) -> None: ...

    def refuse(self, packet: Packet, reason: str) -> None: ...

    def deliver(self, packet: Packet, sink: int, hops: int) -> None: ...

    def ratio_ashore(self) -> float: ...


class ProtocolWarning(UserWarning):
    """A protocol forgets a duty, as far as the end of a run can tell."""


class NodeBook:
    """The book of packets as one node has it: what a protocol takes and lets go of is counted, and a mistake in it is named."""

    def __init__(self, tracker: NodeTracker, protocol: str, node: int, clock: Clock) -> None:
        self._tracker = tracker
        self._who = f"routing '{protocol}', node {node}"
        self._clock = clock
        self._held: dict[int, tuple[Packet, int, float]] = {}
        """Packets held: how many copies, and since when."""
        self._closed = False

    @property
    def duplicates(self) -> int:
        return self._tracker.duplicates

    @duplicates.setter
    def duplicates(self, count: int) -> None:
        self._tracker.duplicates = count

    def hold(self, packet: Packet) -> None:
        """This node takes a copy."""
        if self._closed:
            return
        held = self._held.get(packet.id)
        self._held[packet.id] = (packet, 1, self._clock.now) if held is None else (packet, held[1] + 1, held[2])
        self._tracker.hold(packet)

    def drop(self, packet: Packet, reason: str) -> None:
        """This node lets go of a copy.

        Raises:
            ScenarioError: it holds none, since the protocol never took it or has let go of it before.
        """
        if self._closed:
            return
        held = self._held.get(packet.id)
        if held is None:
            raise ScenarioError(
                f"{self._who}: drops packet {packet.id} (number {packet.seq} of node {packet.src}), of which it holds no copy; a protocol "
                "calls node.tracker.hold(packet) once for every copy that it takes, and node.tracker.drop once for every one that it held"
            )
        if held[1] == 1:
            del self._held[packet.id]
        else:
            self._held[packet.id] = (packet, held[1] - 1, held[2])
        self._tracker.drop(packet, reason)

    def refuse(self, packet: Packet, reason: str) -> None:
        self._tracker.refuse(packet, reason)

    def deliver(self, packet: Packet, sink: int, hops: int) -> None:
        self._tracker.deliver(packet, sink, hops)

    def ratio_ashore(self) -> float:
        return self._tracker.ratio_ashore()

    def close(self, reason: str) -> None:
        """The node is no more: what it holds is lost for a *reason*, and it takes and drops nothing from now on."""
        for packet, count, _ in list(self._held.values()):
            for _ in range(count):
                self._tracker.drop(packet, reason)
        self._held.clear()
        self._closed = True

    def overdue(self, longest_s: float) -> str:
        """Say of what the node has held for over *longest_s* seconds that it should have been dropped; empty where there is nothing."""
        now = self._clock.now
        late = [(packet, now - since_s) for packet, _, since_s in self._held.values() if now - since_s > longest_s]
        if not late:
            return ""
        packet, held_s = late[0]
        more = f" and {len(late) - 1} more" if len(late) > 1 else ""
        return (
            f"{self._who}: still holds packet {packet.id} (number {packet.seq} of node {packet.src}) after {held_s:.0f} s{more}, longer "
            "than any packet may live; a protocol calls node.tracker.drop(packet, reason) for every copy that it is done with"
        )


class PacketTrace(Protocol):
    """An observer of the first and the last event of every packet; `toolkit.acoustic.trace.Trace` is one."""

    def created(self, packet: Packet) -> None: ...

    def ended(self, t_s: float, packet: Packet, sink: int, outcome: str, reason: str) -> None: ...


class PacketTracker:
    """Counts the copies of every packet, so that each ends as delivered, lost for a reason, or in flight."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.trace: PacketTrace | None = None
        self.packets: list[Packet] = []
        self.drop_reasons = DropReasons()
        self._next_seq: dict[int, int] = {}
        self.duplicates = 0
        self._ashore: dict[int, tuple[int, int]] = {}

    def create(self, src: int, nbytes: int, *, dst: int = ANY_SINK, kind: str = "data", body: object = None) -> Packet:
        """A new packet at its source."""
        seq = self._next_seq.get(src, 0)
        self._next_seq[src] = seq + 1
        self.drop_reasons.make_room(len(self.packets))
        now, done = self._world.now, self._world.env.event()
        packet = Packet(
            len(self.packets), src, seq, nbytes, created_s=now, done=done, drop_reasons=self.drop_reasons, dst=dst, kind=kind, body=body
        )
        self.packets.append(packet)
        if self.trace is not None:
            self.trace.created(packet)
        return packet

    def hold(self, packet: Packet) -> None:
        """A node, or the water, takes a copy."""
        packet.copies += 1

    def drop(self, packet: Packet, reason: str) -> None:
        """A copy ends; when it was the last one and the packet did not arrive, the packet is lost for that *reason*."""
        packet.copies -= 1
        if packet.delivered:
            return
        if reason:
            packet.reason = reason
        if packet.copies == 0:
            self._close(packet, -1, Delivery("lost", packet.created_s, self._world.now, 0, packet.reason))

    def refuse(self, packet: Packet, reason: str) -> None:
        """A node heard a packet that it should take, and does not; it holds no copy."""
        packet.reason = reason

    def deliver(self, packet: Packet, sink: int, hops: int) -> None:
        """A copy reached a sink."""
        if packet.delivered:
            self.duplicates += 1
            return
        packet.delivered = True
        count, last = self._ashore.get(packet.src, (0, -1))
        self._ashore[packet.src] = (count + 1, max(last, packet.seq))
        now = self._world.now
        self._world.ledger.metric(now, "hops", hops, str(packet.src), packet.id)
        self._close(packet, sink, Delivery("delivered", packet.created_s, now, hops))

    def ratio_ashore(self) -> float:
        """Delivery ratio as the sinks together can tell it: of each source they know what came, and the last sequence number."""
        sent = sum(last + 1 for _, last in self._ashore.values())
        return sum(count for count, _ in self._ashore.values()) / sent if sent else 1.0

    def finish(self) -> None:
        """Write down what is still under way."""
        for packet in self.packets:
            if not packet.done.triggered:
                self._charge(packet, -1, "in_flight", self._world.now, "")

    def _close(self, packet: Packet, peer: int, delivery: Delivery) -> None:
        self._charge(packet, peer, delivery.outcome, delivery.t1_s, delivery.reason)
        packet.done.succeed(delivery)

    def _charge(self, packet: Packet, peer: int, outcome: str, t1_s: float, reason: str) -> None:
        if self.trace is not None:
            self.trace.ended(t1_s, packet, peer, outcome, reason)
        self._world.ledger.charge(
            packet.created_s, t1_s - packet.created_s, packet.src, peer, "send", phase=reason,
            nbytes=packet.nbytes, outcome=outcome, packet=packet.id,
        )
