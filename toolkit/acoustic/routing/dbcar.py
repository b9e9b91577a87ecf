"""DBCAR: depth-greedy forwarding under a channel-aware reliability constraint, with any SNR predictor."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, final

from pydantic import Field
from simpy.events import Event

from toolkit.acoustic.node import SeaNode
from toolkit.acoustic.packets import BROADCAST, Frame, Packet
from toolkit.acoustic.prediction import Forecast, Predictor
from toolkit.acoustic.routing import LinkHistory, Routing
from toolkit.acoustic.routing.neighbours import Link, LinkBudget, Neighbour, decode_snr, encode_snr
from toolkit.core.program import Process
from toolkit.core.work import Work

DATA_BYTES = 16
"""Type 1, source 2, sequence 2, previous 2, next 2, depth 2, ttl 1, flags 1, SNR feedback 1, CRC 2."""
ACK_BYTES = 14
"""Type 1, from 2, to 2, source 2, sequence 2, depth 2, SNR 1, CRC 2."""
BEACON_BYTES = 10
"""Type 1, id 2, depth 2, sequence 1, energy 1, count 1, CRC 2; and 3 per neighbour listed."""
BEACON_LIST = 16
"""Neighbours listed in one beacon at most; more take turns."""
START_S, START_PERIOD_S = 60.0, 10.0
"""A node that knows nobody sends its first beacons this often, for this long."""
MAX_SIDEWAYS = 2
"""Hops to a neighbour that is no shallower, at most, to get around a void."""


class DataHeader(NamedTuple):
    """What DBCAR puts into a data frame beside source, sequence, depth and addresses."""

    feedback: int
    """SNR at which the sender hears the next hop (one byte, see `encode_snr`)."""
    sideways: int
    has_way_up: bool
    energy: float


class AckHeader(NamedTuple):
    """What an acknowledgement says: which packet, and at which SNR its frame was heard."""

    key: tuple[int, int]
    feedback: int
    has_way_up: bool


class BeaconHeader(NamedTuple):
    """What a beacon says of its sender, and at which SNR it hears its neighbours."""

    energy: float
    has_way_up: bool
    heard: dict[int, int]


@dataclass(eq=False, slots=True)
class Copy:
    """A packet in this node's care."""

    packet: Packet
    hops: int
    sideways: int
    previous: int


@dataclass(eq=False)
class DbcarState:
    """What one node knows and is busy with."""

    budget: LinkBudget
    neighbours: dict[int, Neighbour] = field(default_factory=dict)
    queue: deque[Copy] = field(default_factory=deque)
    idle: Event | None = None
    accepted: dict[tuple[int, int], int] = field(default_factory=dict)
    """Packets taken so far, and the node each came from."""
    awaited: dict[tuple[int, int], tuple[int, Event]] = field(default_factory=dict)
    last_sent_s: float = float("-inf")
    turn: int = 0


class Hop(NamedTuple):
    """A next hop and the probability that data and acknowledgement both get through."""

    neighbour: Neighbour
    success: float
    sideways: bool = False


@final
class Dbcar(Routing):
    """Depth-based channel-aware routing after arXiv 2108.05057 (reconstructed: only its abstract was at hand).

    A node forwards to one neighbour. For every shallower, fresh neighbour it predicts the SNR of the forward link at the time the
    frame would arrive, averages the packet error rate over the predicted distribution, and takes, among those that succeed with
    probability `p_min`, the one with the largest depth gain (rule A); failing that, the largest expected advance (rule B).
    The forward link is measured at the far end and fed back in data, ack and beacon frames; with no feedback yet, the reverse link
    stands in for it with `reciprocity_std_db` more doubt. Acknowledgements are explicit, and a neighbour heard forwarding the
    packet acknowledges it as well. The number of tries follows from the predicted success; a neighbour that stays silent is
    marked down by a censored sample and left alone for a while. Every prediction made is charged to the node's processor.

    Header layouts, timers and rules are this project's reconstruction, not the paper's values.
    """

    prediction: Predictor
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

    def init(self, node: SeaNode) -> DbcarState:
        return DbcarState(LinkBudget(node.modem))

    def originate(self, node: SeaNode, packet: Packet) -> None:
        self._accept(node, Copy(packet, 0, 0, node.id))

    def processes(self, node: SeaNode) -> Iterable[Process]:
        yield self._beacons(node)
        if not node.is_sink:
            yield self._forwarding(node)

    # Receiving

    def on_receive(self, node: SeaNode, frame: Frame, snr_db: float) -> None:
        state: DbcarState = node.state
        neighbour = self._neighbour(node, frame.src)
        neighbour.heard(node.now, frame.depth_m, snr_db)
        header = frame.body
        neighbour.has_way_up = header.has_way_up
        if isinstance(header, BeaconHeader):
            neighbour.energy = header.energy
            if node.id in header.heard:
                self._feedback(state, neighbour, node.now, header.heard[node.id])
        elif isinstance(header, AckHeader):
            if frame.dst == node.id:
                self._feedback(state, neighbour, node.now, header.feedback)
            self._acknowledged(state, header.key, frame.src)
        elif isinstance(header, DataHeader) and frame.packet is not None:
            neighbour.energy = header.energy
            self._acknowledged(state, frame.packet.key, frame.src)  # heard forwarding: an implicit ack
            if frame.dst == node.id:
                self._feedback(state, neighbour, node.now, header.feedback)
                self._take_data(node, frame, frame.packet, snr_db)

    def _take_data(self, node: SeaNode, frame: Frame, packet: Packet, snr_db: float) -> None:
        """Accept a packet sent to this node, or acknowledge once more one that it has."""
        state: DbcarState = node.state
        known = packet.key in state.accepted
        if not known and not node.is_sink and len(state.queue) >= self.queue_limit:
            packet.reason = "queue_full"
            return
        if known and not node.is_sink and frame.body.sideways and frame.src != state.accepted[packet.key]:
            packet.reason = "loop"  # it has come back on a way around a void; silence sends it elsewhere
            return
        ack = AckHeader(packet.key, encode_snr(snr_db), node.is_sink or self._has_way_up(node))
        state.last_sent_s = node.now
        node.send_frame(Frame("ack", node.id, frame.src, ACK_BYTES, None, 0, node.depth_m, ack))
        if node.is_sink:
            state.accepted[packet.key] = frame.src
            node.deliver(packet, frame.hops)
        elif known:
            node.book.duplicates += 1
        else:
            node.book.hold(packet)
            self._accept(node, Copy(packet, frame.hops, frame.body.sideways, frame.src))

    def _accept(self, node: SeaNode, copy: Copy) -> None:
        state: DbcarState = node.state
        if len(state.queue) >= self.queue_limit:
            node.book.drop(copy.packet, "queue_full")
            return
        state.accepted[copy.packet.key] = copy.previous
        state.queue.append(copy)
        if state.idle is not None:
            state.idle.succeed()
            state.idle = None

    def _acknowledged(self, state: DbcarState, key: tuple[int, int], by: int) -> None:
        awaited = state.awaited.get(key)
        if awaited is not None and awaited[0] == by:
            del state.awaited[key]
            awaited[1].succeed()

    def _feedback(self, state: DbcarState, neighbour: Neighbour, t_s: float, code: int) -> None:
        """The neighbour says at which SNR it hears this node, or that it should have and did not."""
        snr_db = decode_snr(code)
        if snr_db is None:
            neighbour.forward.censor(t_s, state.budget.decode_snr_db)
        else:
            neighbour.forward.sample(t_s, snr_db)

    # Forwarding

    def _forwarding(self, node: SeaNode) -> Process:
        """Carry the packets in this node's care on, one after the other."""
        state: DbcarState = node.state
        while True:
            while not state.queue:
                state.idle = node.ctx.world.env.event()
                yield state.idle
            copy = state.queue[0]
            delivered, reason = yield from self._carry(node, copy)
            state.queue.popleft()
            node.book.drop(copy.packet, "" if delivered else reason)

    def _carry(self, node: SeaNode, copy: Copy) -> Process:
        """Try neighbours until one takes the packet or it is too old; return (taken, reason)."""
        reason = "void"
        while node.now < copy.packet.created_s + self.lifetime_s:
            hop = yield from self._choose(node, copy)
            if hop is None:
                yield node.ctx.sleep(self.hold_s)
                continue
            taken = yield from self._offer(node, copy, hop)
            if taken:
                return True, ""
            reason = "retries"
        return False, reason

    def _choose(self, node: SeaNode, copy: Copy) -> Process:
        """Pick the next hop (rules A and B), paying for the predictions that this needs; None in a void.

        Candidates are looked at in the order of preference of rule A, and no further than needed.
        """
        state: DbcarState = node.state
        depth_m = node.depth_m
        data_bytes = DATA_BYTES + copy.packet.nbytes
        candidates = [n for n in self._upward(node) if n.blacklist_until_s <= node.now and n.id != copy.previous]
        candidates.sort(key=lambda n: (not n.is_surface, n.depth_m, -n.energy))
        work = Work()
        chosen: Hop | None = None
        hops: list[Hop] = []
        for neighbour in candidates:
            arrival_s = node.now + node.modem.frame_s(data_bytes) + neighbour.delay_s
            forward, cost = self._forward(neighbour, arrival_s, node.now)
            work += cost
            success = state.budget.success(forward, 8 * data_bytes)
            if success >= self.p_min:
                reverse, cost = neighbour.reverse.forecast(self.prediction, arrival_s, node.now, self.reuse_s)
                work += cost
                success *= state.budget.success(reverse, 8 * ACK_BYTES)
                if success >= self.p_min:  # rule A
                    chosen = Hop(neighbour, success)
                    break
            hops.append(Hop(neighbour, success))
        if chosen is None and hops:  # rule B
            best = max(hops, key=lambda hop: (depth_m - hop.neighbour.depth_m) * hop.success)
            chosen = best if best.success >= self.p_void else None
        if chosen is None and copy.sideways < MAX_SIDEWAYS:
            chosen, cost = self._sideways(node, copy, data_bytes)
            work += cost
        if work.flops > 0.0:
            yield node.ctx.compute(work, "prediction")
        return chosen

    def _sideways(self, node: SeaNode, copy: Copy, data_bytes: int) -> tuple[Hop | None, Work]:
        """The surest neighbour that has a way up, although it is no shallower."""
        work = Work()
        best: Hop | None = None
        for neighbour in node.state.neighbours.values():
            if (
                neighbour.depth_m < node.depth_m - self.threshold_m or not neighbour.has_way_up or neighbour.id == copy.previous
                or not self._fresh(neighbour, node.now) or neighbour.blacklist_until_s > node.now
            ):
                continue
            arrival_s = node.now + node.modem.frame_s(data_bytes) + neighbour.delay_s
            forward, cost = self._forward(neighbour, arrival_s, node.now)
            work += cost
            success = node.state.budget.success(forward, 8 * data_bytes)
            if success >= self.p_min and (best is None or success > best.success):
                best = Hop(neighbour, success, sideways=True)
        return best, work

    def _offer(self, node: SeaNode, copy: Copy, hop: Hop) -> Process:
        """Send to one neighbour until it acknowledges; return whether it did."""
        state: DbcarState = node.state
        neighbour = hop.neighbour
        has_other = sum(1 for n in self._upward(node) if n.blacklist_until_s <= node.now) > 1
        tries = self._tries(hop.success)
        if has_other:
            tries = min(tries, 2)  # after two failures the next candidate gets its turn
        header = DataHeader(
            encode_snr(neighbour.last_snr_db), copy.sideways + int(hop.sideways), True, node.residual_energy
        )
        for attempt in range(tries):
            acknowledged = node.ctx.world.env.event()
            state.awaited[copy.packet.key] = (neighbour.id, acknowledged)
            state.last_sent_s = node.now
            sent = yield node.send_frame(
                Frame("data", node.id, neighbour.id, DATA_BYTES + copy.packet.nbytes, copy.packet, copy.hops + 1,
                      node.depth_m, header)
            )
            sent_s = node.now
            if sent:
                yield acknowledged | node.ctx.sleep(self._timeout_s(node, neighbour))
            if acknowledged.triggered:
                if attempt == 0:
                    neighbour.rtt(node.now - sent_s)
                return True
            state.awaited.pop(copy.packet.key, None)
            yield node.ctx.sleep(2**attempt * self.backoff_s * node.rng.random())
        neighbour.forward.censor(node.now, state.budget.decode_snr_db)
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

    def _timeout_s(self, node: SeaNode, neighbour: Neighbour) -> float:
        """How long after the end of a frame its acknowledgement may take."""
        ack_s = node.modem.frame_s(ACK_BYTES)
        if neighbour.rtt_s is None:
            return 2.0 * self.range_m / 1500.0 + ack_s + self.guard_s
        return neighbour.rtt_s + 4.0 * neighbour.rtt_dev_s + self.guard_s

    # Neighbours

    def _neighbour(self, node: SeaNode, other: int) -> Neighbour:
        state: DbcarState = node.state
        neighbour = state.neighbours.get(other)
        if neighbour is None:
            forward = Link(self.prediction.init(node.truth(node.id, other)))
            reverse = Link(self.prediction.init(node.truth(other, node.id)))
            neighbour = state.neighbours[other] = Neighbour(other, forward, reverse, self.range_m / 1500.0)
        return neighbour

    def _fresh(self, neighbour: Neighbour, now: float) -> bool:
        return now - neighbour.heard_s <= 3.0 * self.beacon_s

    def _upward(self, node: SeaNode) -> Iterator[Neighbour]:
        """Fresh neighbours that are shallower by the threshold."""
        limit_m = node.depth_m - self.threshold_m
        since_s = node.now - 3.0 * self.beacon_s
        return (n for n in node.state.neighbours.values() if n.depth_m < limit_m and n.heard_s >= since_s)

    def _has_way_up(self, node: SeaNode) -> bool:
        return next(self._upward(node), None) is not None

    def _forward(self, neighbour: Neighbour, at_s: float, now: float) -> tuple[Forecast | None, Work]:
        """Forecast the link to *neighbour*, from its feedback or, failing that, by reciprocity."""
        forecast, work = neighbour.forward.forecast(self.prediction, at_s, now, self.reuse_s)
        if forecast is None:
            forecast, work = neighbour.reverse.forecast(self.prediction, at_s, now, self.reuse_s)
            if forecast is not None:
                forecast = Forecast(forecast.mean_db, forecast.std_db + self.reciprocity_std_db)
        return forecast, work

    # Beacons and history

    def _beacons(self, node: SeaNode) -> Process:
        """Tell the neighbours about oneself and about how they are heard; note those who have fallen silent."""
        state: DbcarState = node.state
        hurry_until_s = -1.0 if state.neighbours else START_S  # with nobody known, find neighbours quickly
        hurry_s = min(START_PERIOD_S, self.beacon_s)
        yield node.ctx.sleep((hurry_s if node.now < hurry_until_s else self.beacon_s) * node.rng.random())
        while True:
            self._mark_silent(node)
            if not (self.suppress_beacons and node.now - state.last_sent_s < self.beacon_s / 2.0):
                heard = self._beacon_list(state)
                beacon = BeaconHeader(node.residual_energy, node.is_sink or self._has_way_up(node), heard)
                nbytes = BEACON_BYTES + 3 * len(heard)
                yield node.send_frame(Frame("beacon", node.id, BROADCAST, nbytes, None, 0, node.depth_m, beacon))
            period_s = hurry_s if node.now < hurry_until_s else self.beacon_s
            yield node.ctx.sleep(period_s * (0.5 + node.rng.random()))

    def _beacon_list(self, state: DbcarState) -> dict[int, int]:
        """At which SNR each neighbour was heard since it was last listed; silent ones are listed as such."""
        ids = sorted(state.neighbours)
        if len(ids) > BEACON_LIST:
            start = state.turn % len(ids)
            ids = (ids[start:] + ids[:start])[:BEACON_LIST]
            state.turn += BEACON_LIST
        return {other: state.neighbours[other].take_report() for other in ids}

    def _mark_silent(self, node: SeaNode) -> None:
        """A neighbour whose beacon was surely due and did not come leaves a censored sample on both links."""
        level_db = node.state.budget.decode_snr_db
        now = node.now
        for neighbour in node.state.neighbours.values():
            if now - max(neighbour.heard_s, neighbour.marked_s) > 1.5 * self.beacon_s:
                neighbour.marked_s = now
                neighbour.forward.censor(now, level_db)
                neighbour.reverse.censor(now, level_db)

    def learn(self, node: SeaNode, history: LinkHistory) -> None:
        """Feed the predictors what beacons would have shown; neighbours heard in under 2 % of them are left out."""
        me = node.id
        for other in range(history.heard.shape[1]):
            inward = history.heard[:, other, me]
            if other == me or inward.mean() < 0.02:
                continue
            neighbour = self._neighbour(node, other)
            last = int(inward.nonzero()[0][-1])
            neighbour.heard(float(history.t_s[last]), float(history.depth_m[last, other]), None)
            level_db = node.state.budget.decode_snr_db
            neighbour.reverse.learn(history.t_s, history.snr_db[:, other, me], inward, level_db)
            outward = history.heard[:, me, other] & inward  # feedback only comes with a beacon that is heard
            neighbour.forward.learn(history.t_s, history.snr_db[:, me, other], outward, level_db)

    def forecast(self, node: SeaNode, receiver: int, at_s: float) -> Forecast | None:
        neighbour = node.state.neighbours.get(receiver)
        if neighbour is None:
            return None
        neighbour.forward.update(self.prediction)
        return self.prediction.predict(neighbour.forward.state, at_s)
