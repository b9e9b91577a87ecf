"""DBCAR: forwarding to one neighbour under a channel-aware reliability constraint, with any SNR predictor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, final

from pydantic import Field

from toolkit.acoustic.node import SeaNode
from toolkit.acoustic.packets import Frame, Packet
from toolkit.acoustic.phy.modem import Modem
from toolkit.acoustic.prediction import Forecast, Predictor
from toolkit.acoustic.routing import LinkHistory, Router, Routing
from toolkit.acoustic.routing.forwarding import Carried, Forwarder
from toolkit.acoustic.routing.link_monitor import LinkMonitor
from toolkit.acoustic.routing.neighbours import Neighbour, encode_snr
from toolkit.acoustic.routing.next_hop import BY_COST, Candidate, NextHop, PathCost
from toolkit.core.program import Process
from toolkit.core.work import Work

DATA_BYTES = 16
"""Type 1, source 2, sequence 2, previous 2, next 2, depth 2, ttl 1, flags 1, SNR feedback 1, CRC 2; and 1 for a cost, where costs rank."""
ACK_BYTES = 14
"""Type 1, from 2, to 2, source 2, sequence 2, depth 2, SNR 1, CRC 2."""
DEFER_STEP_S = 300.0
"""How finely the time ahead is searched for a better channel."""
BETTER = 2.0
"""By what factor a foreseen success has to be above the present one to be worth waiting for."""
LONGEST_BLACKLIST = 4.0
"""By what factor the time for which a silent neighbour is left alone grows at most."""
LAST_S = 15.0
"""How long before a packet's end its last try begins: time for a frame, its way and its answer."""


class DbcarHeader(NamedTuple):
    """What DBCAR puts into a data frame beside source, sequence, depth and addresses."""

    feedback: int
    """SNR at which the sender hears the next hop (one byte, see `encode_snr`)."""
    sideways: int
    """Hops so far to a neighbour that was no nearer to a sink."""
    has_way_up: bool
    energy: float
    cost: float
    """Where costs rank: what the next hop told that its way costs."""


class DbcarAck(NamedTuple):
    """What an acknowledgement says: which packet, and at which SNR its frame was heard."""

    key: tuple[int, int]
    feedback: int
    has_way_up: bool


@dataclass(eq=False, slots=True)
class DbcarCarried(Carried):
    """A packet in this node's care."""

    sideways: int
    previous: int
    limit: float = float("inf")
    """Cost that this node told when it took the packet: the next hop has to be below it."""
    defer_until_s: float | None = None
    """When waiting for a better channel ends, once it has begun."""


class Later(NamedTuple):
    """A time at which the channel is expected to be good enough."""

    at_s: float
    patient: bool = False
    """Whether to wait for it whatever happens meanwhile."""


@final
class Dbcar(Routing["DbcarRouter"]):
    """Depth-based channel-aware routing after arXiv 2108.05057 (reconstructed: only its abstract was at hand).

    A node forwards to one neighbour. For every fresh neighbour that may be one, it predicts the SNR of the forward link at the time the
    frame would arrive and averages the packet error rate over the predicted distribution and the channel's fading. `rule` says which is
    taken:

    - `a`, depth-greedy: of the shallower neighbours that succeed with probability `p_min`, the one with the largest depth gain; failing
      that, the largest expected advance (rule B).
    - `c_delay`, `c_energy`: of the shallower ones, the least expected delay or energy per metre of depth, T ETX / gain with ETX = 1 / p.
    - `etx`, `energy`: of all whose way costs less than this node's own, the least expected cost of the whole way to a sink. Nodes tell
      theirs in one byte of their beacons: transmissions, or the energy that senders and all who hear them spend, dearer by E0 / E to
      whose battery runs low. A packet remembers what its holder told and only moves to less, so that it cannot circle. Before any cost is
      known, rule A stands in.

    A sink that succeeds with `p_min` wins under every depth rule. With `defer_s`, a packet for which no neighbour reaches `p_min` now is
    held, and those behind it in the queue with it, if the predictor sees one that will within that time.

    In a void, where no candidate succeeds with `p_void`, a packet may go up to `sideways_hops` times to a neighbour that is no nearer
    to a sink, succeeds with `sideways_p` and has told that it has a way up: a shallower neighbour that is foreseen to succeed with
    `way_up_p`. Else `void: foresee` waits until the forecast sees `p_void` reached within the packet's life, or, where it sees none, sends
    a single frame every `hold_s` to the best candidate if that succeeds with `p_least`; `void: hold` only waits. With `last_try` a packet
    is sent once to the best there is before it is given up. The depth-greedy reconstruction is `rule: a`, `sideways_p: 0.8`,
    `sideways_hops: 2`, `way_up_p: 0`, `void: hold`, `last_try: false`, `hold_s: 120`, `blacklist_growth: 1`.

    The forward link is measured at the far end and fed back in data, ack and beacon frames; with no feedback yet, the reverse link
    stands in for it with `reciprocity_std_db` more doubt. Acknowledgements are explicit, and a neighbour heard forwarding the
    packet acknowledges it as well. The number of tries follows from the predicted success; a neighbour that stays silent is
    marked down by a censored sample and left alone for a while, twice as long after every further silence. Every prediction made is
    charged to the node's processor.

    Header layouts, timers and rules are this project's reconstruction, not the paper's values.
    """

    channel_aware: ClassVar[bool] = True

    prediction: Predictor = Field(description="what foretells the SNR of a link")
    rule: Literal["a", "c_delay", "c_energy", "etx", "energy"] = Field("etx", description="how a next hop is chosen")
    p_min: float = Field(0.8, gt=0, lt=1, description="least success probability of rule A")
    p_void: float = Field(0.2, ge=0, lt=1, description="below this for every candidate the node is in a void")
    p_least: float = Field(0.05, ge=0, lt=1, description="least success with which a packet in a void is tried now and then")
    void: Literal["foresee", "hold"] = Field("foresee", description="in a void: wait if better is foreseen, else try; or wait anyhow")
    last_try: bool = Field(True, description="send a packet once to the best there is before it is given up")
    sideways_p: float = Field(0.5, ge=0, le=1, description="least success of a hop to a neighbour that is no nearer to a sink")
    sideways_hops: int = Field(4, ge=0, le=15, description="such hops at most")
    way_up_p: float = Field(0.5, ge=0, lt=1, description="success from which a shallower neighbour is a way up; 0: any fresh one")
    threshold_m: float = Field(0.0, ge=0, description="least depth gain d_th of a candidate")
    beacon_s: float = Field(120.0, gt=0, description="mean beacon period T_b")
    suppress_beacons: bool = Field(True, description="skip a beacon when data or an ack was sent within T_b / 2")
    range_m: float = Field(1500.0, gt=0, description="range that the first acknowledgement timeouts allow for")
    tries: int = Field(4, ge=1, le=10, description="transmissions to one neighbour at most")
    reliability: float = Field(0.99, gt=0, lt=1, description="tries are as many as reach this success probability")
    backoff_s: float = Field(0.5, ge=0, description="W of the back-off U(0, 2^r W)")
    blacklist_s: float = Field(30.0, ge=0, description="how long a silent neighbour is left alone")
    blacklist_growth: float = Field(2.0, ge=1, le=4, description="by what factor longer after every further silence, 4 times at most")
    hold_s: float = Field(60.0, gt=0, description="wait in a void before looking again")
    lifetime_s: float = Field(1800.0, gt=0, description="age at which a packet is given up")
    guard_s: float = Field(0.1, ge=0, description="guard of the acknowledgement timeout")
    reuse_s: float = Field(60.0, ge=0, description="a forecast is used again for this long even if samples came in")
    reciprocity_std_db: float = Field(2.0, ge=0, description="extra doubt where the reverse link stands in for the forward one")
    queue_limit: int = Field(50, ge=1, description="packets in a node's care at most")
    defer_s: float = Field(0.0, ge=0, le=1800, description="how long a packet may wait for a better channel; 0 sends it at once")
    feedback: bool = Field(True, description="use what neighbours report of the forward link; else the reverse link stands in for it")
    offers: int | None = Field(None, ge=1, description="neighbours a packet is offered to before it is given up; none: while it lives")

    @property
    def by_cost(self) -> bool:
        """Whether next hops are ranked by the cost of the whole way."""
        return self.rule in BY_COST

    def init(self, node: SeaNode[DbcarRouter]) -> DbcarRouter:
        return DbcarRouter(self, node)

    def tries_for(self, success: float) -> int:
        """The least number of tries that reaches the wanted reliability."""
        missing = 1.0
        for count in range(1, self.tries + 1):
            missing *= 1.0 - success
            if 1.0 - missing >= self.reliability:
                return count
        return self.tries

    def timeout_s(self, modem: Modem, neighbour: Neighbour) -> float:
        """How long after the end of a frame its acknowledgement may take."""
        longest_s = neighbour.answers.longest_s
        if longest_s is None:
            longest_s = 2.0 * self.range_m / 1500.0 + modem.frame_s(ACK_BYTES)
        return longest_s + self.guard_s


class DbcarRouter(Router):
    """DBCAR at one node."""

    def __init__(self, spec: Dbcar, node: SeaNode) -> None:
        self.spec = spec
        self.node = node
        self.costs = PathCost(node, energy=spec.rule == "energy") if spec.by_cost else None
        self.monitor = LinkMonitor(spec, node, self._way_up, self._own_cost if spec.by_cost else None)
        self.forwarder: Forwarder[DbcarCarried] = Forwarder(node, spec.queue_limit)
        self.rules = NextHop(spec, node, self.monitor, self.costs, header_nbytes=DATA_BYTES + int(spec.by_cost), ack_nbytes=ACK_BYTES)

    @property
    def neighbours(self) -> dict[int, Neighbour]:
        return self.monitor.neighbours

    def originate(self, packet: Packet) -> None:
        me = self.node.id
        self.forwarder.accept(DbcarCarried(packet, 0, 0, me), (me, float("inf")))

    def processes(self) -> Iterable[Process]:
        yield self.monitor.beacons()
        if not self.node.is_sink:
            yield self.forwarder.one_by_one(self._carry)

    def learn(self, history: LinkHistory) -> None:
        self.monitor.learn(history)
        if self.costs is not None:
            self.costs.learn(history, self.neighbours)

    def forecast(self, receiver: int, at_s: float) -> Forecast | None:
        return self.monitor.forecast(receiver, at_s)

    def priced_forecast(self, receiver: int, at_s: float) -> tuple[Forecast | None, Work]:
        neighbour = self.monitor.neighbours.get(receiver)
        return self.monitor.forward(neighbour, at_s) if neighbour is not None else (None, Work())

    # Receiving

    def on_receive(self, frame: Frame, snr_db: float) -> None:
        monitor, mine = self.monitor, frame.dst == self.node.id
        neighbour = monitor.heard(frame, snr_db)
        header = frame.body
        if isinstance(header, DbcarAck):
            if mine:
                monitor.take_feedback(neighbour, header.feedback)
            self.forwarder.answered(header.key, frame.src)
        elif isinstance(header, DbcarHeader) and frame.packet is not None:
            neighbour.energy = header.energy
            self.forwarder.answered(frame.packet.key, frame.src)  # heard forwarding: an implicit ack
            if mine:
                monitor.take_feedback(neighbour, header.feedback)
                self._take_data(frame, frame.packet, header, snr_db)

    def _take_data(self, frame: Frame, packet: Packet, header: DbcarHeader, snr_db: float) -> None:
        """Accept a packet sent to this node, or acknowledge once more one that it has."""
        node, forwarder = self.node, self.forwarder
        if forwarder.refuses(packet):
            return
        if forwarder.knows(packet) and not node.is_sink:
            previous, told = forwarder.accepted[packet.key]
            if frame.src != previous and (header.sideways or header.cost < told):
                node.tracker.refuse(packet, "loop")  # it has come back; silence sends it elsewhere
                return
        ack = DbcarAck(packet.key, encode_snr(snr_db), node.is_sink or self._way_up())
        self.monitor.last_sent_s = node.now
        node.send_frame(Frame("ack", node.id, frame.src, ACK_BYTES, depth_m=node.depth_m, body=ack))
        carried = DbcarCarried(packet, frame.hops, header.sideways, frame.src, header.cost)
        forwarder.take(frame, carried, (frame.src, header.cost))

    # What is told to others

    def _way_up(self) -> bool:
        """Whether there is a way up; the forecasts that this takes are paid for, and not waited for."""
        found, work = self.rules.way_up()
        self._pay(work)
        return found

    def _own_cost(self) -> float:
        cost, work = self.rules.own_cost()
        self._pay(work)
        return cost

    def _pay(self, work: Work) -> None:
        if work.flops > 0.0:
            self.node.ctx.compute(work, "prediction")

    # Forwarding

    def _carry(self, carried: DbcarCarried) -> Process:
        """Try neighbours until one takes the packet or it is too old; return why it was given up, if it was."""
        node, spec = self.node, self.spec
        end_s = carried.packet.created_s + spec.lifetime_s
        last_s = max(end_s - LAST_S, carried.packet.created_s) if spec.last_try else end_s
        reason = "void"
        offers = 0
        while node.now < end_s:
            last = spec.last_try and node.now >= last_s - 1e-6
            hop = yield from self._choose(carried, last=last)
            if hop is None or isinstance(hop, Later):
                again_s = node.now + spec.hold_s  # what is heard meanwhile may bring the better time forward
                wake_s = again_s if hop is None else hop.at_s if hop.patient else min(hop.at_s, again_s)
                yield node.ctx.sleep((end_s if last else min(wake_s, last_s)) - node.now)
                continue
            begun_s = node.now
            taken = yield from self._offer(carried, hop)
            if taken:
                return ""
            reason = "retries"
            offers += 1
            if offers == spec.offers or last:
                break
            if hop.single:  # a shot into a void is not repeated at once
                yield node.ctx.sleep(max(0.0, min(begun_s + spec.hold_s, last_s) - node.now))
        return reason

    def _choose(self, carried: DbcarCarried, *, last: bool) -> Process:
        """Pick the next hop, or the time to wait for, paying for the predictions that this needs; None to look again later."""
        spec, rules = self.spec, self.rules
        hops, chosen, work = rules.candidates(carried)
        if chosen is None and spec.defer_s > 0.0 and all(hop.success < spec.p_min for hop in hops):
            later, cost = self._deferral(carried, hops)
            work += cost
            if later is not None and not last:
                return (yield from self._paid(work, later))
        if chosen is None and any(hop.success >= spec.p_void for hop in hops):
            chosen = rules.best(hops)
        if chosen is None and carried.sideways < spec.sideways_hops:
            chosen, cost = rules.sideways(carried)
            work += cost
        result: Candidate | Later | None = chosen
        if chosen is None and last:
            best = rules.best(hops)
            result = None if best is None else best._replace(single=True)
        elif chosen is None and spec.void == "foresee":
            result, cost = self._foresee(carried, hops)
            work += cost
        return (yield from self._paid(work, result))

    def _paid(self, work: Work, result: Candidate | Later | None) -> Process:
        if work.flops > 0.0:
            yield self.node.ctx.compute(work, "prediction")
        return result

    def _deferral(self, carried: DbcarCarried, hops: list[Candidate]) -> tuple[Later | None, Work]:
        """The first time within `defer_s`, and within the packet's life, at which some neighbour is expected to reach `p_min`."""
        spec, now, work = self.spec, self.node.now, Work()
        if carried.defer_until_s is None:
            carried.defer_until_s = now + spec.defer_s
        last_s = min(carried.defer_until_s, carried.packet.created_s + spec.lifetime_s - DEFER_STEP_S)
        at_s = now + DEFER_STEP_S
        while at_s <= last_s:
            for hop in hops:
                success, cost = self.rules.success(hop.neighbour, carried.packet.nbytes, at_s, spec.p_min)
                work += cost
                if success >= spec.p_min:
                    return Later(at_s, patient=True), work
            at_s += DEFER_STEP_S
        return None, work

    def _foresee(self, carried: DbcarCarried, hops: list[Candidate]) -> tuple[Candidate | Later | None, Work]:
        """Where all candidates are poor: the time at which one is foreseen to be better, or the best of them for a single frame.

        Forecasts are of whole cells of the predictor's grid, so the beginnings of those to come are asked about.
        """
        spec, node, work = self.spec, self.node, Work()
        best = self.rules.best(hops)
        better = max(spec.p_void, 0.0 if best is None else BETTER * best.success)
        step_s = spec.prediction.step_s
        last_s = carried.packet.created_s + spec.lifetime_s - LAST_S
        at_s = (node.now // step_s + 1.0) * step_s
        while at_s < last_s:
            for hop in hops:
                success, cost = self.rules.success(hop.neighbour, carried.packet.nbytes, at_s, better)
                work += cost
                if success >= better:
                    return Later(at_s), work
            at_s += step_s
        return (None if best is None or best.success < spec.p_least else best._replace(single=True)), work

    def _offer(self, carried: DbcarCarried, hop: Candidate) -> Process:
        """Send to one neighbour until it acknowledges; return whether it did."""
        node, spec, neighbour = self.node, self.spec, hop.neighbour
        tries = 1 if hop.single else spec.tries_for(hop.success)
        if hop.rivals:
            tries = min(tries, 2)  # after two failures the next candidate gets its turn
        header = DbcarHeader(
            encode_snr(neighbour.last_snr_db), carried.sideways + int(hop.sideways), not hop.sideways, node.residual_energy,
            neighbour.way_cost,
        )
        nbytes = self.rules.data_nbytes(carried.packet.nbytes)

        def frame() -> Frame:
            self.monitor.last_sent_s = node.now
            return Frame("data", node.id, neighbour.id, nbytes, packet=carried.packet, hops=carried.hops + 1, depth_m=node.depth_m,
                         body=header)

        answer = yield from self.forwarder.offer(
            carried.packet, frame, tries=tries, timeout_s=spec.timeout_s(node.modem, neighbour), backoff_s=spec.backoff_s
        )
        if answer is None:
            self.monitor.mark_down(neighbour)
            neighbour.blacklist_until_s = node.now + spec.blacklist_s * min(spec.blacklist_growth**neighbour.silences, LONGEST_BLACKLIST)
            neighbour.silences += 1
            return False
        neighbour.silences = 0
        if answer.attempt == 0:
            neighbour.answers.observe(answer.waited_s)
        return True
