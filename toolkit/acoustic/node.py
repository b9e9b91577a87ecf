"""A node of the underwater network: modem queue, routing state, processor."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from simpy.events import Event, Timeout

from toolkit.acoustic.packets import Frame, Packet, PacketBook
from toolkit.acoustic.prediction import Truth

if TYPE_CHECKING:
    from toolkit.acoustic.channel import Channel
    from toolkit.acoustic.medium import Medium
    from toolkit.acoustic.modem import Modem
    from toolkit.core.context import SimulatedContext


class Radio:
    """What a MAC protocol sees: the frames that wait, the channel, and its own dice."""

    def __init__(self, node: int, ctx: SimulatedContext, medium: Medium, queue_limit: int, on_drop: Callable[[Frame, str], None]) -> None:
        self.node = node
        self.rng = ctx.rng("mac")
        self._ctx = ctx
        self._medium = medium
        self._queue: deque[Frame] = deque()
        self._limit = queue_limit
        self._on_drop = on_drop
        self._wanted: Event | None = None

    def enqueue(self, frame: Frame) -> Event:
        """Queue a frame (an ack before all others); the event fires when it has been sent."""
        frame.sent = self._ctx.world.env.event()
        if self._wanted is not None:
            self._wanted.succeed(frame)
            self._wanted = None
        elif len(self._queue) >= self._limit:
            self._on_drop(frame, "queue_full")
            frame.sent.succeed(False)
        elif frame.kind == "ack":
            self._queue.appendleft(frame)
        else:
            self._queue.append(frame)
        return frame.sent

    def next_frame(self) -> Event:
        """The next frame to be sent, as soon as there is one."""
        event = self._ctx.world.env.event()
        if self._queue:
            event.succeed(self._queue.popleft())
        else:
            self._wanted = event
        return event

    def busy(self) -> bool:
        """Carrier sense: whether the channel is busy here and now."""
        return self._medium.busy(self.node)

    def transmit(self, frame: Frame) -> Timeout:
        """Send a frame; the event fires when the last bit has left."""
        done = self._medium.transmit(self.node, frame)
        sent = frame.sent
        if sent is not None and done.callbacks is not None:
            event = sent

            def tell(_: object) -> None:
                event.succeed(True)

            done.callbacks.append(tell)
        return done

    def give_up(self, frame: Frame) -> None:
        """Drop a frame that the channel never let through."""
        self._on_drop(frame, "channel_busy")
        if frame.sent is not None:
            frame.sent.succeed(False)

    def sleep(self, delay_s: float) -> Timeout:
        return self._ctx.sleep(delay_s)


@dataclass(eq=False)
class SeaNode:
    """A sensor node or a sink. Routing protocols act through it, and keep their own state in `state`."""

    id: int
    is_sink: bool
    ctx: SimulatedContext
    radio: Radio
    channel: Channel
    modem: Modem
    book: PacketBook
    truth: Callable[[int, int], Truth]
    battery_j: float
    radio_energy_j: Callable[[int], float]
    state: Any = field(default=None, repr=False)

    @property
    def now(self) -> float:
        return float(self.ctx.world.env.now)

    @property
    def depth_m(self) -> float:
        """Own depth, as the node's pressure gauge reads it; a sink counts as the surface."""
        return 0.0 if self.is_sink else float(self.channel.position_m[self.id, 2])

    @property
    def residual_energy(self) -> float:
        """Share of the battery that sending and receiving have left, in [0, 1]."""
        return max(0.0, 1.0 - self.radio_energy_j(self.id) / self.battery_j)

    @property
    def rng(self) -> np.random.Generator:
        """The routing protocol's own dice at this node."""
        return self.ctx.rng("routing")

    def send_frame(self, frame: Frame) -> Event:
        """Hand a frame to the MAC; the event fires when it has left the modem (value True) or was dropped (False)."""
        return self.radio.enqueue(frame)

    def deliver(self, packet: Packet, hops: int) -> None:
        """A sink hands a packet ashore."""
        self.book.deliver(packet, self.id, hops)
