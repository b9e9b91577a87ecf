"""CARP: channel-aware routing, in which a sender asks around for the best relay before each train of packets."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, cast, final

import numpy as np
from pydantic import Field
from simpy.events import Event

from toolkit.acoustic.node import SeaNode
from toolkit.acoustic.packets import BROADCAST, Frame, Packet
from toolkit.acoustic.prediction import Forecast
from toolkit.acoustic.routing import LinkHistory, Routing
from toolkit.acoustic.routing.neighbours import LinkBudget
from toolkit.core.program import Process

DATA_BYTES = 17
"""Type 1, source 2, sequence 2, previous 2, next 2, hop count 1, train 2, place in it 1, its length 1, flags 1, CRC 2."""
HELLO_BYTES = 9
"""Type 1, id 2, flood 2, hop count 1, energy 1, CRC 2."""
PING_BYTES = 10
"""Type 1, id 2, hop count 1, train 2, packets 1, their length 1, CRC 2."""
PONG_BYTES = 12
"""Type 1, id 2, to 2, hop count 1, room 1, energy 1, link quality 1, flags 1, CRC 2."""
ACK_BYTES = 10
"""Type 1, from 2, to 2, train 2, received 1 (a bit per packet), CRC 2."""
UNKNOWN = 255
"""Hop count of a node that no flood has reached."""


class CarpHello(NamedTuple):
    """A flood from a sink, passed on with the sender's hop count."""

    flood: int
    hop_count: int


class Ping(NamedTuple):
    """Who wants to send what."""

    hop_count: int
    """Hop count that a relay has to be below."""
    level: bool
    """Whether a relay of just that hop count will do."""
    packets: int
    nbytes: int
    """Length of the frames that would carry them."""


class Pong(NamedTuple):
    """What a relay offers."""

    hop_count: int
    room: int
    energy: float
    quality: float
    """Quality of the relay's own best link onwards."""


class Data(NamedTuple):
    """Where a packet stands in its train."""

    train: int
    place: int
    length: int
    hop_count: int
    """Hop count that the relay told in its PONG; every later relay has to be below it."""
    level: bool
    """Whether the packet has used its one hop between nodes of equal hop count."""


class TrainAck(NamedTuple):
    """Which places of a train came through."""

    train: int
    received: frozenset[int]


@dataclass(eq=False, slots=True)
class CarpQueued:
    """A packet in this node's care."""

    packet: Packet
    hops: int
    hop_count: int
    """What this node told when it took the packet; `UNKNOWN` at the source, which told nobody."""
    level: bool


@dataclass(eq=False)
class CarpState:
    """What one node knows and is busy with."""

    hop_count: int
    budget: LinkBudget
    flood: int = -1
    quality: dict[int, float] = field(default_factory=dict)
    """Smoothed share of packets acknowledged, by neighbour."""
    next_hops: dict[int, int] = field(default_factory=dict)
    """Neighbours that were heard to tell their hop counts, and these."""
    queue: deque[CarpQueued] = field(default_factory=deque)
    accepted: dict[tuple[int, int], int] = field(default_factory=dict)
    """Packets taken so far, and the hop count that this node told then."""
    idle: Event | None = None
    busy: bool = False
    """In an exchange of its own; such a node does not answer a ping."""
    pongs: dict[int, Pong] | None = None
    """Answers to the PING that is out."""
    train: int = 0
    awaited: tuple[int, Event] | None = None
    arriving: dict[tuple[int, int], set[int]] = field(default_factory=dict)
    """Places received so far of each train, by sender and train."""


@final
class Carp(Routing[CarpState]):
    """CARP (Basagni, Petrioli, Petroccia and Spaccini 2012/2015): relays are chosen by how well links have worked.

    Sinks flood hellos, from which every node has its hop count HC. A sender x with packets broadcasts a PING; idle nodes y whose HC
    is not above its own answer with a PONG: HC, room in the queue, residual energy, and the quality of y's best link onwards. The
    relay is the y of largest lq_xy max_z lq_yz; ties go to the smaller HC, then to energy and room. Up to `train` packets follow back
    to back and are acknowledged together; what is missing stays in the queue for the next train. Link quality is
    lq = a S / N + (1 - a) lq, with S of N packets acknowledged. A PING gets through no more easily than a frame of data would.

    A packet remembers the HC that its holder told, and moves to smaller ones alone, but for one hop between equals; so it cannot
    circle, whatever floods do to hop counts meanwhile.

    Source: the papers as recalled, their abstracts read. Departures: the paper lowers the power of a PING until it is as likely lost
    as data; the source level being fixed here, who decodes a PING heeds it with the probability that makes up the difference, at any
    SNR (its energy and its interference stay those of full power). Beacons of the history count as trains of one packet; a link never
    used counts `first_quality`.
    """

    channel_aware: ClassVar[bool] = True

    smoothing: float = Field(0.3, gt=0, le=1, description="a: weight of the last train in a link's quality")
    first_quality: float = Field(0.5, ge=0, le=1, description="quality of a link that was never used")
    train: int = Field(4, ge=1, le=8, description="packets sent back to back at most")
    hello_s: float = Field(3600.0, ge=60, description="time between two floods of a sink")
    hello_jitter_s: float = Field(3.0, gt=0, description="longest random delay before a hello is passed on")
    pong_s: float = Field(1.0, gt=0, description="answers to a PING are spread over this time")
    range_m: float = Field(1500.0, gt=0, description="range that the waiting times allow for")
    backoff_s: float = Field(5.0, gt=0, description="mean wait after a PING without answer, doubled up to 16 times that")
    lifetime_s: float = Field(1800.0, gt=0, description="age at which a packet is given up")
    guard_s: float = Field(0.2, ge=0, description="guard of the waiting times")
    queue_limit: int = Field(50, ge=1, le=255, description="packets in a node's care at most")

    def init(self, node: SeaNode[CarpState]) -> CarpState:
        return CarpState(0 if node.is_sink else UNKNOWN, LinkBudget(node.modem))

    def learn(self, node: SeaNode[CarpState], history: LinkHistory) -> None:
        """Start with the quality of links that beacons have shown: one got through if both ways worked."""
        state = node.state
        both = history.heard[:, node.id, :] & history.heard[:, :, node.id]
        steps = len(both)
        weights = self.smoothing * (1.0 - self.smoothing) ** np.arange(steps - 1, -1, -1)
        quality = weights @ both + (1.0 - self.smoothing) ** steps * self.first_quality
        state.quality = {other: float(quality[other]) for other in range(len(quality)) if other != node.id and both[:, other].any()}

    def originate(self, node: SeaNode[CarpState], packet: Packet) -> None:
        self._accept(node, CarpQueued(packet, 0, UNKNOWN, level=False))

    def processes(self, node: SeaNode[CarpState]) -> Iterable[Process]:
        yield self._floods(node) if node.is_sink else self._forwarding(node)

    def smoothed(self, quality: float, acknowledged: int, sent: int) -> float:
        """The new quality of a link on which *acknowledged* of *sent* packets got through."""
        return self.smoothing * acknowledged / sent + (1.0 - self.smoothing) * quality

    def heeded(self, budget: LinkBudget, snr_db: float, nbytes: int) -> float:
        """Share of the decoded PINGs that would have been decoded at the lower power, at which they get through as frames of *nbytes*."""
        ping, data = (budget.success(Forecast(snr_db, 0.0), 8 * length) for length in (PING_BYTES, nbytes))
        return min(1.0, data / ping) if ping > 0.0 else 1.0

    # Receiving

    def on_receive(self, node: SeaNode[CarpState], frame: Frame, snr_db: float) -> None:
        state = node.state
        body = frame.body
        if isinstance(body, CarpHello | Pong):
            state.next_hops[frame.src] = body.hop_count
        if isinstance(body, CarpHello):
            self._take_hello(node, body)
        elif isinstance(body, Ping):
            if node.rng.random() < self.heeded(state.budget, snr_db, body.nbytes):
                self._answer(node, frame.src, body)
        elif isinstance(body, Pong):
            if frame.dst == node.id and state.pongs is not None:
                state.pongs[frame.src] = body
        elif isinstance(body, TrainAck):
            if frame.dst == node.id and state.awaited is not None and state.awaited[0] == body.train:
                event = state.awaited[1]
                if not event.triggered:
                    event.succeed(body.received)
        elif isinstance(body, Data) and frame.packet is not None and frame.dst == node.id:
            self._take_data(node, frame, frame.packet, body)

    def _take_hello(self, node: SeaNode[CarpState], hello: CarpHello) -> None:
        state = node.state
        if node.is_sink or hello.flood < state.flood:
            return
        if hello.flood > state.flood or hello.hop_count + 1 < state.hop_count:
            state.flood = hello.flood
            state.hop_count = min(hello.hop_count + 1, UNKNOWN - 1)
            node.ctx.process(self._pass_on(node, CarpHello(state.flood, state.hop_count)))

    def _pass_on(self, node: SeaNode[CarpState], hello: CarpHello) -> Process:
        state = node.state
        yield node.ctx.sleep(self.hello_jitter_s * node.rng.random())
        if (state.flood, state.hop_count) == hello:  # nothing better has come meanwhile
            yield node.send_frame(Frame("hello", node.id, BROADCAST, HELLO_BYTES, depth_m=node.depth_m, body=hello))

    def _answer(self, node: SeaNode[CarpState], sender: int, ping: Ping) -> None:
        """Offer oneself as a relay."""
        state = node.state
        room = self.queue_limit if node.is_sink else self.queue_limit - len(state.queue)
        nearer = state.hop_count < ping.hop_count or (ping.level and state.hop_count == ping.hop_count)
        if state.busy or room <= 0 or state.hop_count == UNKNOWN or not nearer:
            return
        onwards = 1.0 if node.is_sink else self._best_onwards(state, sender)
        pong = Pong(state.hop_count, room, in_a_byte(node.residual_energy), in_a_byte(onwards))
        node.ctx.process(self._pong(node, sender, pong))

    def _best_onwards(self, state: CarpState, sender: int) -> float:
        """Quality of the best link to a node that is nearer to a sink; unknown ones count as such."""
        qualities = [
            state.quality.get(other, self.first_quality) for other, hop_count in state.next_hops.items()
            if hop_count < state.hop_count and other != sender
        ]
        return max(qualities, default=self.first_quality)

    def _pong(self, node: SeaNode[CarpState], sender: int, pong: Pong) -> Process:
        yield node.ctx.sleep(self.pong_s * node.rng.random())
        yield node.send_frame(Frame("pong", node.id, sender, PONG_BYTES, depth_m=node.depth_m, body=pong))

    def _take_data(self, node: SeaNode[CarpState], frame: Frame, packet: Packet, data: Data) -> None:
        state = node.state
        told = state.accepted.get(packet.key)
        if told is not None and data.hop_count < told and not node.is_sink:
            node.tracker.refuse(packet, "loop")  # it has come back, since this node's hop count has fallen; silence sends it elsewhere
            return
        new = told is None
        if new and not node.is_sink and len(state.queue) >= self.queue_limit:
            node.tracker.refuse(packet, "queue_full")
            return
        train = (frame.src, data.train)
        received = state.arriving.setdefault(train, set())
        if not received:
            rest_s = (data.length - 1 - data.place) * (node.modem.frame_s(frame.nbytes) + self.guard_s)
            node.ctx.process(self._acknowledge(node, train, rest_s))
        received.add(data.place)
        if node.is_sink:
            state.accepted[packet.key] = 0
            node.deliver(packet, frame.hops)
        elif new:
            node.tracker.hold(packet)
            self._accept(node, CarpQueued(packet, frame.hops, data.hop_count, data.level))
        else:
            node.tracker.duplicates += 1

    def _acknowledge(self, node: SeaNode[CarpState], train: tuple[int, int], wait_s: float) -> Process:
        """Acknowledge a train together, once its last packet must have come."""
        state = node.state
        yield node.ctx.sleep(wait_s + self.guard_s / 2.0)
        ack = TrainAck(train[1], frozenset(state.arriving.pop(train)))
        yield node.send_frame(Frame("ack", node.id, train[0], ACK_BYTES, depth_m=node.depth_m, body=ack))

    def _accept(self, node: SeaNode[CarpState], queued: CarpQueued) -> None:
        state = node.state
        if len(state.queue) >= self.queue_limit:
            node.tracker.drop(queued.packet, "queue_full")
            return
        state.accepted[queued.packet.key] = queued.hop_count
        state.queue.append(queued)
        if state.idle is not None:
            state.idle.succeed()
            state.idle = None

    # Sending

    def _floods(self, node: SeaNode[CarpState]) -> Process:
        """A sink floods hellos: three times in the beginning, since floods collide, and then now and then."""
        count = 0
        while True:
            yield node.ctx.sleep(5.0 * node.rng.random())
            hello = CarpHello(count, 0)  # sinks keep the same time, so they agree on the number of a flood
            yield node.send_frame(Frame("hello", node.id, BROADCAST, HELLO_BYTES, depth_m=node.depth_m, body=hello))
            count += 1
            period_s = 20.0 if count < 3 else self.hello_s
            yield node.ctx.sleep(period_s - node.now % period_s)

    def _forwarding(self, node: SeaNode[CarpState]) -> Process:
        state = node.state
        silence = 0
        while True:
            while not state.queue:
                state.idle = node.ctx.world.env.event()
                yield state.idle
            self._drop_old(node)
            if not state.queue:
                continue
            state.busy = True
            limit, copies = self._next_train(state)
            found = yield from self._find_relay(node, limit, copies)
            if found is not None:
                relay, pong = found
                yield from self._send_train(node, limit, copies[: pong.room], relay, pong)
            state.busy = False
            silence = 0 if found is not None else min(silence + 1, 5)
            if found is None:
                yield node.ctx.sleep(self.backoff_s * 2 ** (silence - 1) * (0.5 + node.rng.random()))

    def _drop_old(self, node: SeaNode[CarpState]) -> None:
        state = node.state
        for queued in [queued for queued in state.queue if node.now - queued.packet.created_s > self.lifetime_s]:
            state.queue.remove(queued)
            node.tracker.drop(queued.packet, "void" if state.hop_count == UNKNOWN else "retries")

    def _next_train(self, state: CarpState) -> tuple[int, list[CarpQueued]]:
        """The hop count that a relay has to be below, and the first packets of the queue that may go the same ways."""

        def ways(queued: CarpQueued) -> tuple[int, bool]:
            return min(queued.hop_count, state.hop_count), queued.level

        first = ways(state.queue[0])
        return first[0], [queued for queued in state.queue if ways(queued) == first][: self.train]

    def _find_relay(self, node: SeaNode[CarpState], limit: int, copies: list[CarpQueued]) -> Process:
        """PING, and choose among the PONGs; return (relay, its pong), or None if there is none."""
        state = node.state
        pongs: dict[int, Pong] = {}
        nbytes = DATA_BYTES + max(queued.packet.nbytes for queued in copies)
        ping = Ping(limit, not copies[0].level, len(copies), nbytes)
        state.pongs = pongs
        sent = yield node.send_frame(Frame("ping", node.id, BROADCAST, PING_BYTES, depth_m=node.depth_m, body=ping))
        if sent:
            yield node.ctx.sleep(2.0 * self.range_m / 1500.0 + self.pong_s + node.modem.frame_s(PONG_BYTES) + self.guard_s)
        state.pongs = None
        return max(pongs.items(), key=lambda answer: self.goodness(state, *answer), default=None)

    def goodness(self, state: CarpState, relay: int, pong: Pong) -> tuple[float, int, float, int]:
        """By what the best relay is chosen: lq_xy max_z lq_yz first, then hop count, energy and room."""
        quality = in_a_byte(state.quality.get(relay, self.first_quality)) * pong.quality
        return quality, -pong.hop_count, pong.energy, pong.room

    def _send_train(self, node: SeaNode[CarpState], limit: int, copies: list[CarpQueued], relay: int, pong: Pong) -> Process:
        """Send packets back to back, wait for the acknowledgement, and keep what is missing."""
        state = node.state
        state.train += 1
        acknowledged = node.ctx.world.env.event()
        state.awaited = (state.train, acknowledged)
        for place, queued in enumerate(copies):
            data = Data(state.train, place, len(copies), pong.hop_count, queued.level or pong.hop_count == limit)
            nbytes = DATA_BYTES + queued.packet.nbytes
            yield node.send_frame(
                Frame("data", node.id, relay, nbytes, packet=queued.packet, hops=queued.hops + 1, depth_m=node.depth_m, body=data)
            )
        timeout_s = 2.0 * self.range_m / 1500.0 + node.modem.frame_s(ACK_BYTES) + (len(copies) + 1) * self.guard_s
        yield acknowledged | node.ctx.sleep(timeout_s)
        state.awaited = None
        received = cast(frozenset[int], acknowledged.value) if acknowledged.triggered else frozenset[int]()
        before = state.quality.get(relay, self.first_quality)
        state.quality[relay] = self.smoothed(before, len(received), len(copies))
        for place, queued in enumerate(copies):
            if place in received:
                state.queue.remove(queued)
                node.tracker.drop(queued.packet, "")


def in_a_byte(share: float) -> float:
    """A share in [0, 1] as one byte tells it: links that are all but perfect are told to be equally good."""
    return round(255.0 * share) / 255.0
