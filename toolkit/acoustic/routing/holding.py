"""Holding queues of the broadcast protocols: packets wait for their turn, and a copy overheard meanwhile may silence them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from toolkit.acoustic.node import SeaNode
from toolkit.acoustic.packets import Frame, Packet
from toolkit.core.alarm import Alarm
from toolkit.core.program import Process

Key = tuple[int, int]


@dataclass(eq=False)
class Held:
    """A packet that waits; `note` is what its protocol has to remember of it."""

    packet: Packet
    hops: int
    """Transmissions of the copy that was heard."""
    due_s: float
    note: Any = None


class HoldingQueue:
    """The packets that one node holds, and those it is done with (bounded)."""

    def __init__(self, node: SeaNode, history: int) -> None:
        self._node = node
        self._history = history
        self._held: dict[Key, Held] = {}
        self._done: OrderedDict[Key, None] = OrderedDict()

    def get(self, key: Key) -> Held | None:
        return self._held.get(key)

    def is_done(self, key: Key) -> bool:
        """Whether the packet was sent, silenced or refused before."""
        return key in self._done

    def finish(self, key: Key) -> None:
        """Remember a packet as done with."""
        self._done[key] = None
        if len(self._done) > self._history:
            self._done.popitem(last=False)

    def hold(self, packet: Packet, hops: int, wait_s: float, note: Any, act: Callable[[Held], None]) -> None:
        """Take a copy, and call *act* with it after *wait_s*, unless it is silenced before."""
        held = self._held[packet.key] = Held(packet, hops, self._node.now + wait_s, note)
        self._node.tracker.hold(packet)
        self._set_alarm(held, act)

    def hasten(self, held: Held, due_s: float, act: Callable[[Held], None]) -> None:
        """Let a packet go at *due_s*, if that is earlier than planned."""
        if due_s < held.due_s:
            held.due_s = due_s
            self._set_alarm(held, act)

    def silence(self, key: Key, reason: str = "suppressed") -> None:
        """Drop a packet that waits: others carry it on."""
        held = self._held.pop(key)
        self.finish(key)
        self._node.tracker.drop(held.packet, reason)

    def _set_alarm(self, held: Held, act: Callable[[Held], None]) -> None:
        key, due_s = held.packet.key, held.due_s

        def ring(_: object) -> None:
            if self._held.get(key) is held and held.due_s == due_s:  # neither silenced nor hastened
                del self._held[key]
                self.finish(key)
                act(held)

        Alarm(self._node.ctx.world.env, ring).ring_at(due_s)


def pass_over(packet: Packet) -> None:
    """Note that a node heard a packet and is not one to forward it: where nobody is, the packet is lost in a void."""
    packet.reason = packet.reason or "void"


def send_copy(node: SeaNode, frame: Frame) -> Process:
    """Broadcast a copy that this node holds, and let go of it."""
    yield node.send_frame(frame)
    if frame.packet is not None:
        node.tracker.drop(frame.packet, "")
