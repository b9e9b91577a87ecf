"""CARP: channel-aware routing, in which a sender asks around for the best relay before each train of packets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, final

import numpy as np
from pydantic import Field

from toolkit.acoustic.node import SeaNode
from toolkit.acoustic.packets import BROADCAST, Frame, Packet
from toolkit.acoustic.prediction import Forecast
from toolkit.acoustic.routing import LinkHistory, Router, Routing
from toolkit.acoustic.routing.forwarding import Carried, Forwarder
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
class CarpCarried(Carried):
    """A packet in this node's care."""

    hop_count: int
    """What this node told when it took the packet; `UNKNOWN` at the source, which told nobody."""
    level: bool


@final
class Carp(Routing["CarpRouter"]):
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

    def init(self, node: SeaNode[CarpRouter]) -> CarpRouter:
        return CarpRouter(self, node)

    def smoothed(self, quality: float, acknowledged: int, sent: int) -> float:
        """The new quality of a link on which *acknowledged* of *sent* packets got through."""
        return self.smoothing * acknowledged / sent + (1.0 - self.smoothing) * quality

    def heeded(self, budget: LinkBudget, snr_db: float, nbytes: int) -> float:
        """Share of the decoded PINGs that would have been decoded at the lower power, at which they get through as frames of *nbytes*."""
        ping, data = (budget.success(Forecast(snr_db, 0.0), 8 * length) for length in (PING_BYTES, nbytes))
        return min(1.0, data / ping) if ping > 0.0 else 1.0


class CarpRouter(Router):
    """What CARP knows at one node, and is busy with there."""

    def __init__(self, spec: Carp, node: SeaNode) -> None:
        self.spec = spec
        self.node = node
        self.hop_count = 0 if node.is_sink else UNKNOWN
        self.flood = -1
        self.quality: dict[int, float] = {}
        """Smoothed share of packets acknowledged, by neighbour."""
        self.arriving: dict[tuple[int, int], set[int]] = {}
        """Places received so far of each train, by sender and train."""
        self.forwarder: Forwarder[CarpCarried] = Forwarder(node, spec.queue_limit)
        self._budget = LinkBudget(node.modem)
        self._next_hops: dict[int, int] = {}
        """Neighbours that were heard to tell their hop counts, and these."""
        self._busy = False
        """In an exchange of its own; such a node does not answer a ping."""
        self._pongs: dict[int, Pong] | None = None
        """Answers to the PING that is out."""
        self._train = 0

    def learn(self, history: LinkHistory) -> None:
        """Start with the quality of links that beacons have shown: one got through if both ways worked."""
        me, smoothing = self.node.id, self.spec.smoothing
        both = history.heard[:, me, :] & history.heard[:, :, me]
        steps = len(both)
        weights = smoothing * (1.0 - smoothing) ** np.arange(steps - 1, -1, -1)
        quality = weights @ both + (1.0 - smoothing) ** steps * self.spec.first_quality
        self.quality = {other: float(quality[other]) for other in range(len(quality)) if other != me and both[:, other].any()}

    def originate(self, packet: Packet) -> None:
        self.forwarder.accept(CarpCarried(packet, 0, UNKNOWN, level=False), UNKNOWN)

    def processes(self) -> Iterable[Process]:
        yield self._floods() if self.node.is_sink else self._forwarding()

    # Receiving

    def on_receive(self, frame: Frame, snr_db: float) -> None:
        node, body = self.node, frame.body
        if isinstance(body, CarpHello | Pong):
            self._next_hops[frame.src] = body.hop_count
        if isinstance(body, CarpHello):
            self.take_hello(body)
        elif isinstance(body, Ping):
            if node.rng.random() < self.spec.heeded(self._budget, snr_db, body.nbytes):
                self._answer(frame.src, body)
        elif isinstance(body, Pong):
            if frame.dst == node.id and self._pongs is not None:
                self._pongs[frame.src] = body
        elif isinstance(body, TrainAck):
            if frame.dst == node.id:
                self.forwarder.answered(body.train, frame.src, body.received)
        elif isinstance(body, Data) and frame.packet is not None and frame.dst == node.id:
            self.take_data(frame, frame.packet, body)

    def take_hello(self, hello: CarpHello) -> None:
        """Learn the hop count from a flood, and pass it on where it is news."""
        if self.node.is_sink or hello.flood < self.flood:
            return
        if hello.flood > self.flood or hello.hop_count + 1 < self.hop_count:
            self.flood = hello.flood
            self.hop_count = min(hello.hop_count + 1, UNKNOWN - 1)
            self.node.ctx.process(self._pass_on(CarpHello(self.flood, self.hop_count)))

    def _pass_on(self, hello: CarpHello) -> Process:
        node = self.node
        yield node.ctx.sleep(self.spec.hello_jitter_s * node.rng.random())
        if (self.flood, self.hop_count) == hello:  # nothing better has come meanwhile
            yield node.send_frame(Frame("hello", node.id, BROADCAST, HELLO_BYTES, depth_m=node.depth_m, body=hello))

    def _answer(self, sender: int, ping: Ping) -> None:
        """Offer oneself as a relay."""
        node = self.node
        room = self.spec.queue_limit if node.is_sink else self.forwarder.room
        nearer = self.hop_count < ping.hop_count or (ping.level and self.hop_count == ping.hop_count)
        if self._busy or room <= 0 or self.hop_count == UNKNOWN or not nearer:
            return
        onwards = 1.0 if node.is_sink else self._best_onwards(sender)
        pong = Pong(self.hop_count, room, in_a_byte(node.residual_energy), in_a_byte(onwards))
        node.ctx.process(self._pong(sender, pong))

    def _best_onwards(self, sender: int) -> float:
        """Quality of the best link to a node that is nearer to a sink; unknown ones count as such."""
        first = self.spec.first_quality
        qualities = [
            self.quality.get(other, first) for other, hop_count in self._next_hops.items()
            if hop_count < self.hop_count and other != sender
        ]
        return max(qualities, default=first)

    def _pong(self, sender: int, pong: Pong) -> Process:
        node = self.node
        yield node.ctx.sleep(self.spec.pong_s * node.rng.random())
        yield node.send_frame(Frame("pong", node.id, sender, PONG_BYTES, depth_m=node.depth_m, body=pong))

    def take_data(self, frame: Frame, packet: Packet, data: Data) -> None:
        """Take one packet of a train."""
        node, forwarder = self.node, self.forwarder
        told = forwarder.accepted.get(packet.key)
        if told is not None and data.hop_count < told and not node.is_sink:
            node.tracker.refuse(packet, "loop")  # it has come back, since this node's hop count has fallen; silence sends it elsewhere
            return
        if forwarder.refuses(packet):
            return
        train = (frame.src, data.train)
        received = self.arriving.setdefault(train, set())
        if not received:
            rest_s = (data.length - 1 - data.place) * (node.modem.frame_s(frame.nbytes) + self.spec.guard_s)
            node.ctx.process(self._acknowledge(train, rest_s))
        received.add(data.place)
        carried = CarpCarried(packet, frame.hops, data.hop_count, data.level)
        forwarder.take(frame, carried, 0 if node.is_sink else data.hop_count)

    def _acknowledge(self, train: tuple[int, int], wait_s: float) -> Process:
        """Acknowledge a train together, once its last packet must have come."""
        node = self.node
        yield node.ctx.sleep(wait_s + self.spec.guard_s / 2.0)
        ack = TrainAck(train[1], frozenset(self.arriving.pop(train)))
        yield node.send_frame(Frame("ack", node.id, train[0], ACK_BYTES, depth_m=node.depth_m, body=ack))

    # Sending

    def _floods(self) -> Process:
        """A sink floods hellos: three times in the beginning, since floods collide, and then now and then."""
        node = self.node
        count = 0
        while True:
            yield node.ctx.sleep(5.0 * node.rng.random())
            hello = CarpHello(count, 0)  # sinks keep the same time, so they agree on the number of a flood
            yield node.send_frame(Frame("hello", node.id, BROADCAST, HELLO_BYTES, depth_m=node.depth_m, body=hello))
            count += 1
            period_s = 20.0 if count < 3 else self.spec.hello_s
            yield node.ctx.sleep(period_s - node.now % period_s)

    def _forwarding(self) -> Process:
        node, forwarder = self.node, self.forwarder
        silence = 0
        while True:
            yield from forwarder.packets()
            self._drop_old()
            if not forwarder.queue:
                continue
            self._busy = True
            limit, copies = self._next_train()
            found = yield from self._find_relay(limit, copies)
            if found is not None:
                relay, pong = found
                yield from self._send_train(limit, copies[: pong.room], relay, pong)
            self._busy = False
            silence = 0 if found is not None else min(silence + 1, 5)
            if found is None:
                yield node.ctx.sleep(self.spec.backoff_s * 2 ** (silence - 1) * (0.5 + node.rng.random()))

    def _drop_old(self) -> None:
        now = self.node.now
        for carried in [one for one in self.forwarder.queue if now - one.packet.created_s > self.spec.lifetime_s]:
            self.forwarder.let_go(carried, "void" if self.hop_count == UNKNOWN else "retries")

    def _next_train(self) -> tuple[int, list[CarpCarried]]:
        """The hop count that a relay has to be below, and the first packets of the queue that may go the same ways."""

        def ways(carried: CarpCarried) -> tuple[int, bool]:
            return min(carried.hop_count, self.hop_count), carried.level

        queue = self.forwarder.queue
        first = ways(queue[0])
        return first[0], [carried for carried in queue if ways(carried) == first][: self.spec.train]

    def _find_relay(self, limit: int, copies: list[CarpCarried]) -> Process:
        """PING, and choose among the PONGs; return (relay, its pong), or None if there is none."""
        node, spec = self.node, self.spec
        pongs: dict[int, Pong] = {}
        nbytes = DATA_BYTES + max(carried.packet.nbytes for carried in copies)
        ping = Ping(limit, not copies[0].level, len(copies), nbytes)
        self._pongs = pongs
        sent = yield node.send_frame(Frame("ping", node.id, BROADCAST, PING_BYTES, depth_m=node.depth_m, body=ping))
        if sent:
            yield node.ctx.sleep(2.0 * spec.range_m / 1500.0 + spec.pong_s + node.modem.frame_s(PONG_BYTES) + spec.guard_s)
        self._pongs = None
        return max(pongs.items(), key=lambda answer: self.goodness(*answer), default=None)

    def goodness(self, relay: int, pong: Pong) -> tuple[float, int, float, int]:
        """By what the best relay is chosen: lq_xy max_z lq_yz first, then hop count, energy and room."""
        quality = in_a_byte(self.quality.get(relay, self.spec.first_quality)) * pong.quality
        return quality, -pong.hop_count, pong.energy, pong.room

    def _send_train(self, limit: int, copies: list[CarpCarried], relay: int, pong: Pong) -> Process:
        """Send packets back to back, wait for the acknowledgement, and keep what is missing."""
        node, spec = self.node, self.spec
        self._train += 1
        answer = self.forwarder.await_answer(self._train, relay)
        for place, carried in enumerate(copies):
            data = Data(self._train, place, len(copies), pong.hop_count, carried.level or pong.hop_count == limit)
            nbytes = DATA_BYTES + carried.packet.nbytes
            yield node.send_frame(
                Frame("data", node.id, relay, nbytes, packet=carried.packet, hops=carried.hops + 1, depth_m=node.depth_m, body=data)
            )
        timeout_s = 2.0 * spec.range_m / 1500.0 + node.modem.frame_s(ACK_BYTES) + (len(copies) + 1) * spec.guard_s
        came = yield from self.forwarder.wait(self._train, answer, timeout_s)
        received: frozenset[int] = frozenset(answer.value or ()) if came else frozenset()
        before = self.quality.get(relay, spec.first_quality)
        self.quality[relay] = spec.smoothed(before, len(received), len(copies))
        for place, carried in enumerate(copies):
            if place in received:
                self.forwarder.let_go(carried)


def in_a_byte(share: float) -> float:
    """A share in [0, 1] as one byte tells it: links that are all but perfect are told to be equally good."""
    return round(255.0 * share) / 255.0
