"""DBCAR: depth-greedy forwarding under a channel-aware reliability constraint, with any SNR predictor."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple, final

from pydantic import Field
from simpy.events import Event

from toolkit.acoustic.node import SeaNode
from toolkit.acoustic.packets import Frame, Packet
from toolkit.acoustic.prediction import Forecast, Predictor
from toolkit.acoustic.routing import LinkHistory, Routing
from toolkit.acoustic.routing.link_monitor import LinkMonitor
from toolkit.acoustic.routing.neighbours import Neighbour, encode_snr
from toolkit.core.program import Process
from toolkit.core.work import Work

DATA_BYTES = 16
"""Type 1, source 2, sequence 2, previous 2, next 2, depth 2, ttl 1, flags 1, SNR feedback 1, CRC 2."""
ACK_BYTES = 14
"""Type 1, from 2, to 2, source 2, sequence 2, depth 2, SNR 1, CRC 2."""
MAX_DETOUR = 2
"""Hops to a neighbour that is no shallower, at most, to get around a void."""
DEFER_STEP_S = 300.0
"""How finely the time ahead is searched for a better channel."""


class DbcarHeader(NamedTuple):
    """What DBCAR puts into a data frame beside source, sequence, depth and addresses."""

    feedback: int
    """SNR at which the sender hears the next hop (one byte, see `encode_snr`)."""
    detour: int
    has_way_up: bool
    energy: float


class DbcarAck(NamedTuple):
    """What an acknowledgement says: which packet, and at which SNR its frame was heard."""

    key: tuple[int, int]
    feedback: int
    has_way_up: bool


@dataclass(eq=False, slots=True)
class DbcarQueued:
    """A packet in this node's care."""

    packet: Packet
    hops: int
    detour: int
    previous: int
    defer_until_s: float | None = None
    """When waiting for a better channel ends, once it has begun."""


@dataclass(eq=False)
class DbcarState:
    """What one node knows and is busy with."""

    monitor: LinkMonitor
    queue: deque[DbcarQueued] = field(default_factory=deque)
    idle: Event | None = None
    accepted: dict[tuple[int, int], int] = field(default_factory=dict)
    """Packets taken so far, and the node each came from."""
    awaited: dict[tuple[int, int], tuple[int, Event]] = field(default_factory=dict)

    @property
    def neighbours(self) -> dict[int, Neighbour]:
        return self.monitor.neighbours


class Hop(NamedTuple):
    """A next hop and the probability that data and acknowledgement both get through."""

    neighbour: Neighbour
    success: float
    detour: bool = False


class Later(NamedTuple):
    """A time at which the channel is expected to be good enough."""

    at_s: float


@final
class Dbcar(Routing[DbcarState]):
    """Depth-based channel-aware routing after arXiv 2108.05057 (reconstructed: only its abstract was at hand).

    A node forwards to one neighbour. For every shallower, fresh neighbour it predicts the SNR of the forward link at the time the
    frame would arrive, averages the packet error rate over the predicted distribution, and takes, among those that succeed with
    probability `p_min`, the one with the largest depth gain (rule A); failing that, the largest expected advance (rule B). Rule C,
    by choice, minimises the expected delay or energy per metre of depth instead, T ETX / gain with ETX = 1 / p; a sink that succeeds
    with `p_min` wins under every rule. With `defer_s`, a packet for which no neighbour reaches `p_min` now is held, and those behind it
    in the queue with it, if the predictor sees one that will within that time; a node defers a packet no longer than that in all. This
    trades delay for retries, and what is held at the end of a run has not been delivered.
    The forward link is measured at the far end and fed back in data, ack and beacon frames; with no feedback yet, the reverse link
    stands in for it with `reciprocity_std_db` more doubt. Acknowledgements are explicit, and a neighbour heard forwarding the
    packet acknowledges it as well. The number of tries follows from the predicted success; a neighbour that stays silent is
    marked down by a censored sample and left alone for a while. Every prediction made is charged to the node's processor.

    Header layouts, timers and rules are this project's reconstruction, not the paper's values.
    """

    channel_aware: ClassVar[bool] = True

    prediction: Predictor
    rule: Literal["a", "c_delay", "c_energy"] = Field("a", description="how a next hop is chosen: reliable and far, or cheap per metre")
    p_min: float = Field(0.8, gt=0, lt=1, description="least success probability of rule A")
    p_void: float = Field(0.2, ge=0, lt=1, description="below this for every candidate the node is in a void")
    threshold_m: float = Field(0.0, ge=0, description="least depth gain d_th of a candidate")
    beacon_s: float = Field(120.0, gt=0, description="mean beacon period T_b")
    suppress_beacons: bool = Field(True, description="skip a beacon when data or an ack was sent within T_b / 2")
    range_m: float = Field(1500.0, gt=0, description="range that the first acknowledgement timeouts allow for")
    tries: int = Field(4, ge=1, le=10, description="transmissions to one neighbour at most")
    reliability: float = Field(0.99, gt=0, lt=1, description="tries are as many as reach this success probability")
    backoff_s: float = Field(0.5, ge=0, description="W of the back-off U(0, 2^r W)")
    blacklist_s: float = Field(30.0, ge=0, description="how long a silent neighbour is left alone")
    hold_s: float = Field(120.0, gt=0, description="wait in a void before looking again")
    lifetime_s: float = Field(1800.0, gt=0, description="age at which a packet is given up")
    guard_s: float = Field(0.1, ge=0, description="guard of the acknowledgement timeout")
    reuse_s: float = Field(60.0, ge=0, description="a forecast is used again for this long even if samples came in")
    reciprocity_std_db: float = Field(2.0, ge=0, description="extra doubt where the reverse link stands in for the forward one")
    queue_limit: int = Field(50, ge=1, description="packets in a node's care at most")
    defer_s: float = Field(0.0, ge=0, le=1800, description="how long a packet may wait for a better channel; 0 sends it at once")
    feedback: bool = Field(True, description="use what neighbours report of the forward link; else the reverse link stands in for it")
    offers: int | None = Field(None, ge=1, description="neighbours a packet is offered to before it is given up; none: while it lives")

    def init(self, node: SeaNode[DbcarState]) -> DbcarState:
        return DbcarState(LinkMonitor(self, node))

    def originate(self, node: SeaNode[DbcarState], packet: Packet) -> None:
        self._accept(node, DbcarQueued(packet, 0, 0, node.id))

    def processes(self, node: SeaNode[DbcarState]) -> Iterable[Process]:
        state = node.state
        yield state.monitor.beacons()
        if not node.is_sink:
            yield self._forwarding(node)

    # Receiving

    def on_receive(self, node: SeaNode[DbcarState], frame: Frame, snr_db: float) -> None:
        state = node.state
        neighbour = state.monitor.heard(frame, snr_db)
        header = frame.body
        if isinstance(header, DbcarAck):
            if frame.dst == node.id:
                state.monitor.take_feedback(neighbour, header.feedback)
            self._acknowledged(state, header.key, frame.src)
        elif isinstance(header, DbcarHeader) and frame.packet is not None:
            neighbour.energy = header.energy
            self._acknowledged(state, frame.packet.key, frame.src)  # heard forwarding: an implicit ack
            if frame.dst == node.id:
                state.monitor.take_feedback(neighbour, header.feedback)
                self._take_data(node, frame, frame.packet, snr_db)

    def _take_data(self, node: SeaNode[DbcarState], frame: Frame, packet: Packet, snr_db: float) -> None:
        """Accept a packet sent to this node, or acknowledge once more one that it has."""
        state = node.state
        known = packet.key in state.accepted
        if not known and not node.is_sink and len(state.queue) >= self.queue_limit:
            node.tracker.refuse(packet, "queue_full")
            return
        if known and not node.is_sink and frame.body.detour and frame.src != state.accepted[packet.key]:
            node.tracker.refuse(packet, "loop")  # it has come back on a way around a void; silence sends it elsewhere
            return
        ack = DbcarAck(packet.key, encode_snr(snr_db), node.is_sink or state.monitor.has_way_up())
        state.monitor.last_sent_s = node.now
        node.send_frame(Frame("ack", node.id, frame.src, ACK_BYTES, depth_m=node.depth_m, body=ack))
        if node.is_sink:
            state.accepted[packet.key] = frame.src
            node.deliver(packet, frame.hops)
        elif known:
            node.tracker.duplicates += 1
        else:
            node.tracker.hold(packet)
            self._accept(node, DbcarQueued(packet, frame.hops, frame.body.detour, frame.src))

    def _accept(self, node: SeaNode[DbcarState], queued: DbcarQueued) -> None:
        state = node.state
        if len(state.queue) >= self.queue_limit:
            node.tracker.drop(queued.packet, "queue_full")
            return
        state.accepted[queued.packet.key] = queued.previous
        state.queue.append(queued)
        if state.idle is not None:
            state.idle.succeed()
            state.idle = None

    def _acknowledged(self, state: DbcarState, key: tuple[int, int], by: int) -> None:
        awaited = state.awaited.get(key)
        if awaited is not None and awaited[0] == by:
            del state.awaited[key]
            awaited[1].succeed()

    # Forwarding

    def _forwarding(self, node: SeaNode[DbcarState]) -> Process:
        """Carry the packets in this node's care on, one after the other."""
        state = node.state
        while True:
            while not state.queue:
                state.idle = node.ctx.world.env.event()
                yield state.idle
            queued = state.queue[0]
            delivered, reason = yield from self._carry(node, queued)
            state.queue.popleft()
            node.tracker.drop(queued.packet, "" if delivered else reason)

    def _carry(self, node: SeaNode[DbcarState], queued: DbcarQueued) -> Process:
        """Try neighbours until one takes the packet or it is too old; return (taken, reason)."""
        reason = "void"
        offers = 0
        while node.now < queued.packet.created_s + self.lifetime_s:
            hop = yield from self._choose(node, queued)
            if hop is None:
                yield node.ctx.sleep(self.hold_s)
                continue
            if isinstance(hop, Later):
                yield node.ctx.sleep(hop.at_s - node.now)
                continue
            taken = yield from self._offer(node, queued, hop)
            if taken:
                return True, ""
            reason = "retries"
            offers += 1
            if offers == self.offers:
                break
        return False, reason

    def _choose(self, node: SeaNode[DbcarState], queued: DbcarQueued) -> Process:
        """Pick the next hop, or the time to wait for, paying for the predictions that this needs; None in a void.

        Candidates are looked at in the order of preference of rule A, and no further than needed.
        """
        state = node.state
        data_bytes = DATA_BYTES + queued.packet.nbytes
        candidates = [n for n in state.monitor.upward() if n.blacklist_until_s <= node.now and n.id != queued.previous]
        candidates.sort(key=lambda n: (not n.is_surface, n.depth_m, -n.energy))
        work = Work()
        chosen: Hop | Later | None = None
        hops: list[Hop] = []
        for neighbour in candidates:
            success, both, cost = self._success(node, neighbour, data_bytes, node.now)
            work += cost
            hops.append(Hop(neighbour, success))
            if both and success >= self.p_min and (self.rule == "a" or neighbour.is_surface):  # rule A
                chosen = hops[-1]
                break
        if chosen is None and self.defer_s > 0.0 and all(hop.success < self.p_min for hop in hops):
            chosen, cost = self._later(node, queued, candidates, data_bytes)
            work += cost
        if chosen is None and any(hop.success >= self.p_void for hop in hops):  # rules B and C
            chosen = min(hops, key=lambda hop: self._cost(node, hop, data_bytes))
        if chosen is None and queued.detour < MAX_DETOUR:
            chosen, cost = self._detour(node, queued, data_bytes)
            work += cost
        if work.flops > 0.0:
            yield node.ctx.compute(work, "prediction")
        return chosen

    def _success(self, node: SeaNode[DbcarState], neighbour: Neighbour, data_bytes: int, begin_s: float) -> tuple[float, bool, Work]:
        """Probability that data sent at *begin_s* are acknowledged, whether the way back is in it, and the work of the forecasts.

        Where the way there alone is too poor for rule A, the way back is not asked for.
        """
        state = node.state
        arrival_s = begin_s + node.modem.frame_s(data_bytes) + neighbour.delay_s
        forward, work = state.monitor.forward(neighbour, arrival_s)
        success = state.monitor.budget.success(forward, 8 * data_bytes)
        if success < self.p_min and self.rule == "a":
            return success, False, work
        reverse, cost = state.monitor.reverse(neighbour, arrival_s)
        return success * state.monitor.budget.success(reverse, 8 * ACK_BYTES), True, work + cost

    def _cost(self, node: SeaNode[DbcarState], hop: Hop, data_bytes: int) -> float:
        """What rule B or C minimises: minus the expected advance, or the expected delay or energy per metre gained."""
        gain_m = node.depth_m - hop.neighbour.depth_m
        if self.rule == "a":
            return -gain_m * hop.success
        data_s, ack_s = node.modem.frame_s(data_bytes), node.modem.frame_s(ACK_BYTES)
        if self.rule == "c_delay":
            rtt_s = hop.neighbour.rtt_s
            price = data_s + (2.0 * hop.neighbour.delay_s + ack_s if rtt_s is None else rtt_s) + self.guard_s
        else:  # what both ends spend on the two frames
            price = (data_s + ack_s) * (node.modem.tx_w + node.modem.rx_w)
        return price / (gain_m * max(hop.success, 1e-12))

    def _later(
        self, node: SeaNode[DbcarState], queued: DbcarQueued, candidates: list[Neighbour], data_bytes: int
    ) -> tuple[Later | None, Work]:
        """The first time within `defer_s`, and within the packet's life, at which some neighbour is expected to reach `p_min`."""
        work = Work()
        if queued.defer_until_s is None:
            queued.defer_until_s = node.now + self.defer_s
        last_s = min(queued.defer_until_s, queued.packet.created_s + self.lifetime_s - DEFER_STEP_S)
        at_s = node.now + DEFER_STEP_S
        while at_s <= last_s:
            for neighbour in candidates:
                success, both, cost = self._success(node, neighbour, data_bytes, at_s)
                work += cost
                if both and success >= self.p_min:
                    return Later(at_s), work
            at_s += DEFER_STEP_S
        return None, work

    def _detour(self, node: SeaNode[DbcarState], queued: DbcarQueued, data_bytes: int) -> tuple[Hop | None, Work]:
        """The surest neighbour that has a way up, although it is no shallower."""
        state = node.state
        work = Work()
        best: Hop | None = None
        for neighbour in state.neighbours.values():
            if (
                neighbour.depth_m < node.depth_m - self.threshold_m or not neighbour.has_way_up or neighbour.id == queued.previous
                or not state.monitor.is_fresh(neighbour) or neighbour.blacklist_until_s > node.now
            ):
                continue
            arrival_s = node.now + node.modem.frame_s(data_bytes) + neighbour.delay_s
            forward, cost = state.monitor.forward(neighbour, arrival_s)
            work += cost
            success = state.monitor.budget.success(forward, 8 * data_bytes)
            if success >= self.p_min and (best is None or success > best.success):
                best = Hop(neighbour, success, detour=True)
        return best, work

    def _offer(self, node: SeaNode[DbcarState], queued: DbcarQueued, hop: Hop) -> Process:
        """Send to one neighbour until it acknowledges; return whether it did."""
        state = node.state
        neighbour = hop.neighbour
        has_other = sum(1 for n in state.monitor.upward() if n.blacklist_until_s <= node.now) > 1
        tries = self._tries(hop.success)
        if has_other:
            tries = min(tries, 2)  # after two failures the next candidate gets its turn
        header = DbcarHeader(
            encode_snr(neighbour.last_snr_db), queued.detour + int(hop.detour), True, node.residual_energy
        )
        for attempt in range(tries):
            acknowledged = node.ctx.world.env.event()
            state.awaited[queued.packet.key] = (neighbour.id, acknowledged)
            state.monitor.last_sent_s = node.now
            sent = yield node.send_frame(
                Frame("data", node.id, neighbour.id, DATA_BYTES + queued.packet.nbytes, packet=queued.packet, hops=queued.hops + 1,
                      depth_m=node.depth_m, body=header)
            )
            sent_s = node.now
            if sent:
                yield acknowledged | node.ctx.sleep(self._timeout_s(node, neighbour))
            if acknowledged.triggered:
                if attempt == 0:
                    neighbour.rtt(node.now - sent_s)
                return True
            state.awaited.pop(queued.packet.key, None)
            yield node.ctx.sleep(2**attempt * self.backoff_s * node.rng.random())
        state.monitor.mark_down(neighbour)
        neighbour.blacklist_until_s = node.now + self.blacklist_s
        return False

    def _tries(self, success: float) -> int:
        """The least number of tries that reaches the wanted reliability."""
        missing = 1.0
        for count in range(1, self.tries + 1):
            missing *= 1.0 - success
            if 1.0 - missing >= self.reliability:
                return count
        return self.tries

    def _timeout_s(self, node: SeaNode[DbcarState], neighbour: Neighbour) -> float:
        """How long after the end of a frame its acknowledgement may take."""
        ack_s = node.modem.frame_s(ACK_BYTES)
        if neighbour.rtt_s is None:
            return 2.0 * self.range_m / 1500.0 + ack_s + self.guard_s
        return neighbour.rtt_s + 4.0 * neighbour.rtt_dev_s + self.guard_s

    # History

    def learn(self, node: SeaNode[DbcarState], history: LinkHistory) -> None:
        state = node.state
        state.monitor.learn(history)

    def forecast(self, node: SeaNode[DbcarState], receiver: int, at_s: float) -> Forecast | None:
        state = node.state
        return state.monitor.forecast(receiver, at_s)
