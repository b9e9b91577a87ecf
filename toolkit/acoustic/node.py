"""A node of the underwater network: modem queue, routing state, processor."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from operator import attrgetter
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray
from simpy.events import Event, Timeout
from typing_extensions import TypeVar

from toolkit.acoustic.packets import ANY_SINK, Frame, NodeTracker, Packet
from toolkit.acoustic.phy.channel import Channel
from toolkit.acoustic.phy.fading import FastFading
from toolkit.acoustic.phy.medium import Medium
from toolkit.acoustic.phy.modem import Modem
from toolkit.acoustic.prediction import Truth
from toolkit.core.device import Device
from toolkit.core.program import Process
from toolkit.core.simulated import Sender, SimulatedContext
from toolkit.core.world import World


class MacInterface:
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
        self._clock = ctx.world.env
        self._at_once = self._sending = False
        self.has_power: Callable[[], bool] = lambda: True
        """Asked before a frame is sent; without power nothing is."""
        self._silent = False

    @property
    def silent(self) -> bool:
        """Whether the modem has lost its power for good."""
        return self._silent

    @property
    def backlog(self) -> int:
        """How many frames wait for the channel."""
        return len(self._queue)

    def fall_silent(self) -> None:
        """The modem has lost its power: what waits is dropped, and so is all that comes."""
        self._silent = True
        waiting, self._queue = self._queue, deque()
        for frame in waiting:
            self.give_up(frame, "dead")

    def enqueue(self, frame: Frame) -> Event:
        """Queue a frame (an ack before all others); the event fires when it has been sent."""
        frame.sent = self._clock.event()
        if self._silent:
            self.give_up(frame, "dead")
        elif self._at_once and not self._sending:
            self._send(frame)
        elif self._wanted is not None:
            self._wanted.succeed(frame)
            self._wanted = None
        elif len(self._queue) >= self._limit:
            self._on_drop(frame, "queue_full")
            frame.sent.succeed(False)
        elif frame.kind == "ack":
            self._queue.appendleft(frame)
        else:
            self._queue.append(frame)
            if frame.until_s < math.inf:
                self._clock.call_in(max(0.0, frame.until_s - self._clock.now), partial(self._end_wait, frame))
        return frame.sent

    def is_over(self, frame: Frame) -> bool:
        """Whether what *frame* carries has had its life, so that it is not worth sending any more."""
        return bool(frame.until_s < self._clock.now)

    def _end_wait(self, frame: Frame, _: object) -> None:
        """Drop a frame whose life ends while it waits."""
        if frame in self._queue:
            self._queue.remove(frame)
            self.give_up(frame, "expired")

    def next_frame(self) -> Event:
        """The next frame to be sent, as soon as there is one."""
        event = self._clock.event()
        if self._queue:
            event.succeed(self._queue.popleft())
        else:
            self._wanted = event
        return event

    def send_at_once(self) -> None:
        """Send every frame as soon as the modem is free, from now on and without a process that asks for the next one."""
        self._at_once = True

    def _send(self, frame: Frame) -> None:
        self._sending = True
        done = self.transmit(frame)
        if done.callbacks is not None:
            done.callbacks.append(self._is_free)

    def _is_free(self, _: object) -> None:
        if self._queue:
            frame = self._queue.popleft()
            self._clock.call_in(0.0, lambda _: self._send(frame))  # whoever waits for the last frame is told before the next one
        else:
            self._sending = False

    @property
    def now(self) -> float:
        """Time in s; all modems have the same clock."""
        return float(self._clock.now)

    @property
    def size(self) -> int:
        """How many nodes share the medium, sinks included."""
        return self._medium.count

    def airtime_s(self, nbytes: float) -> float:
        """How long a frame of *nbytes* takes to send."""
        return self._medium.modem.frame_s(nbytes)

    def busy(self) -> bool:
        """Carrier sense: whether the channel is busy here and now."""
        return self._medium.busy(self.node)

    def transmit(self, frame: Frame) -> Event:
        """Send a frame; the event fires when the last bit has left, and is the one by which routing is told.

        A frame whose packet has had its life is dropped instead, and so is one of a node without power.
        """
        if not self.has_power():
            self.give_up(frame, "dead")
            return self._ctx.sleep(0.0)
        if self.is_over(frame):
            self.give_up(frame, "expired")
            return self._ctx.sleep(0.0)
        sent = frame.sent
        if sent is None:
            return self._medium.transmit(self.node, frame)
        self._clock.succeed_in(self._medium.begin(self.node, frame), sent, True)
        return sent

    def emit(self, frame: Frame) -> Timeout:
        """Send a frame without telling routing that it has left: the MAC may have to send it again (see `tell_sent`).

        A MAC that sends frames of routing in this way asks `is_over` first, and gives up those.
        """
        if not self.has_power():
            self._on_drop(frame, "dead")
            return self._ctx.sleep(0.0)
        return self._medium.transmit(self.node, frame)

    def carry(self, packet: Packet, frame: Frame, ways_s: Mapping[int, float], arrive: Callable[[int], None]) -> None:
        """Let an ideal link layer take a frame to its receivers in so many seconds; *arrive* is called with each when it is there."""
        self._medium.carry(self.node, packet, frame, ways_s, arrive)

    def tell_sent(self, frame: Frame) -> None:
        """Tell routing that a frame which was emitted is done with."""
        if frame.sent is not None:
            frame.sent.succeed(True)

    def intercept(self, look: Callable[[Frame], bool]) -> None:
        """Show every frame that this modem decodes to the MAC first; routing gets those for which *look* returns False."""
        self._medium.intercept(self.node, look)

    def ignore(self, packet: Packet, until_s: float) -> None:
        """Tell routing of no frame with *packet* that is decoded up to *until_s*; it is received and charged all the same."""
        self._medium.ignore(self.node, packet.id, until_s)

    def start(self, process: Process) -> None:
        """Run another process of the MAC beside the one that serves the queue."""
        self._ctx.process(process)

    def event(self) -> Event:
        """An event that the MAC lets happen itself."""
        return self._clock.event()

    def sleep_until(self, t_s: float) -> Timeout:
        return self._ctx.sleep(max(0.0, t_s - self.now))

    def give_up(self, frame: Frame, reason: str = "channel_busy") -> None:
        """Drop a frame that the channel never let through, or (S-FAMA) that nobody answered."""
        self._on_drop(frame, reason)
        if frame.sent is not None:
            frame.sent.succeed(False)

    def sleep(self, delay_s: float) -> Timeout:
        return self._ctx.sleep(delay_s)


class SeaContext(SimulatedContext):
    """The context of a node in the sea, which has a place."""

    def __init__(self, world: World, rank: int, size: int, device: Device, sender: Sender, *, channel: Channel) -> None:
        super().__init__(world, rank, size, device, sender)
        self._channel = channel
        self.region_m = channel.region_m
        """Lowest and highest x, y and depth of all nodes and sinks when the run began."""

    @property
    def position_m(self) -> NDArray[np.float64]:
        """Own place at present: x, y, depth."""
        place: NDArray[np.float64] = self._channel.position_m[self.node]
        return place


State = TypeVar("State", default=Any)
"""What a routing protocol keeps at one node."""


@dataclass(eq=False)
class SeaNode(Generic[State]):
    """A sensor node or a sink. Routing protocols act through it, and keep their own state in `state`."""

    id: int
    is_sink: bool
    _: KW_ONLY
    ctx: SimulatedContext
    mac: MacInterface
    channel: Channel
    modem: Modem
    tracker: NodeTracker
    truth: Callable[[int, int], Truth]
    residual: Callable[[SeaNode], float]
    fading: FastFading = field(default_factory=FastFading)
    """The fading that the channel has, by which a forecast of the mean SNR becomes a chance."""
    sinks: range = range(0)
    """Ids of all sinks, whose places everybody may know."""
    peers: Sequence[SeaNode] = ()
    """All nodes and sinks by id, for idealisations that look past the water."""
    lifetime_s: float = math.inf
    """Age at which the routing protocol gives a packet up; no modem begins to send it later."""
    addresses: bool = False
    """Whether the routing protocol brings packets to whatever node they are for."""
    onward: Callable[[Packet, int], None] | None = None
    """What a sink does with a packet for somebody else, which came in with so many hops; none where nobody sends such packets."""
    state: State = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._clock = self.ctx.world.env
        self._rng: np.random.Generator | None = None

    now = property(attrgetter("_clock.now"), doc="Time in s.")  # without a function of Python: it is asked for with every frame

    @property
    def depth_m(self) -> float:
        """Own depth, as the node's pressure gauge reads it; a sink counts as the surface."""
        return 0.0 if self.is_sink else self.channel.depth_m[self.id]

    @property
    def position_m(self) -> NDArray[np.float64]:
        """Own place as x, y, depth, for protocols that suppose that nodes know it."""
        place: NDArray[np.float64] = self.channel.position_m[self.id]
        return place.copy()

    def nearest_sink_m(self, place_m: NDArray[np.float64]) -> NDArray[np.float64]:
        """The place of the sink nearest to *place_m*."""
        places_m = self.channel.position_m[self.sinks.start : self.sinks.stop]
        nearest: NDArray[np.float64] = places_m[int(((places_m - place_m) ** 2).sum(axis=1).argmin())]
        return nearest.copy()

    @property
    def residual_energy(self) -> float:
        """Share of the battery that sending, receiving, idling and computing have left, in [0, 1]; a sink's is full."""
        return self.residual(self)

    @property
    def rng(self) -> np.random.Generator:
        """The routing protocol's own dice at this node."""
        if self._rng is None:
            self._rng = self.ctx.rng("routing")
        return self._rng

    @property
    def book(self) -> NodeTracker:
        """The packet tracker, by its older name."""
        return self.tracker

    def send_frame(self, frame: Frame) -> Event:
        """Hand a frame to the MAC; the event fires when it has left the modem (value True) or was dropped (False)."""
        packet = frame.packet
        if packet is not None:
            if frame.kind == "data":
                frame.kind = packet.kind
            frame.until_s = packet.created_s + self.lifetime_s
        return self.mac.enqueue(frame)

    def ends(self, packet: Packet) -> bool:
        """Whether *packet* has come as far as the routing protocol brings it: to a sink, or to the node that it is for."""
        return packet.dst == self.id if self.addresses and packet.dst != ANY_SINK else self.is_sink

    def deliver(self, packet: Packet, hops: int) -> None:
        """Take a packet that has come as far as it should: a sink hands it ashore, or sees to the rest of its way."""
        if packet.dst in (ANY_SINK, self.id) or self.onward is None:
            self.tracker.deliver(packet, self.id, hops)
        else:
            self.onward(packet, hops)
