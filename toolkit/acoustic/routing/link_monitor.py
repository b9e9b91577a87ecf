"""The watch that a channel-aware node keeps over its links: beacons, feedback, silence, history, forecasts.

DBCAR's rules differ in what they do with these forecasts; how a node comes by them is the same for all of them and stands here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from toolkit.acoustic.node import SeaNode
from toolkit.acoustic.packets import BROADCAST, Frame
from toolkit.acoustic.prediction import Forecast, Predictor
from toolkit.acoustic.routing import LinkHistory
from toolkit.acoustic.routing.neighbours import LinkBudget, Neighbour, PredictedLink, decode_cost, decode_snr, encode_cost
from toolkit.core.program import Process
from toolkit.core.work import Work

BEACON_BYTES = 10
"""Type 1, id 2, depth 2, sequence 1, energy 1, count 1, CRC 2; 3 per neighbour listed; and 1 for the cost of the way, if it is told."""
BEACON_LIST = 16
"""Neighbours listed in one beacon at most; more take turns."""
START_S, START_PERIOD_S = 60.0, 10.0
"""A node that knows nobody sends its first beacons this often, for this long."""


class BeaconHeader(NamedTuple):
    """What a beacon says of its sender, and at which SNR it hears its neighbours."""

    energy: float
    has_way_up: bool
    heard: dict[int, int]
    cost: float
    """What the sender's way to a sink costs, see `encode_cost`; infinite where it tells none."""


class MonitorSettings(Protocol):
    """The settings of a protocol that keeps watch."""

    @property
    def prediction(self) -> Predictor: ...
    @property
    def threshold_m(self) -> float: ...
    @property
    def beacon_s(self) -> float: ...
    @property
    def suppress_beacons(self) -> bool: ...
    @property
    def range_m(self) -> float: ...
    @property
    def reuse_s(self) -> float: ...
    @property
    def feedback(self) -> bool: ...
    @property
    def reciprocity_std_db(self) -> float: ...


class LinkMonitor:
    """What one node knows of its neighbours."""

    def __init__(
        self, spec: MonitorSettings, node: SeaNode, way_up: Callable[[], bool] | None = None, own_cost: Callable[[], float] | None = None
    ) -> None:
        """*way_up* says whether this node has one (by default: any fresh shallower neighbour), *own_cost*, if given, what its way costs."""
        self._spec = spec
        self._node = node
        self._way_up = way_up or self.has_way_up
        self._own_cost = own_cost
        self.budget = LinkBudget(node.modem, node.fading)
        self.neighbours: dict[int, Neighbour] = {}
        self.last_sent_s = float("-inf")
        """When this node last sent a frame that others could measure."""
        self._turn = 0

    def neighbour(self, other: int) -> Neighbour:
        """The entry of a node that was heard, new if need be."""
        neighbour = self.neighbours.get(other)
        if neighbour is None:
            node, prediction = self._node, self._spec.prediction
            forward = PredictedLink(prediction.init(node.truth(node.id, other)))
            reverse = PredictedLink(prediction.init(node.truth(other, node.id)))
            neighbour = self.neighbours[other] = Neighbour(other, forward, reverse, self._spec.range_m / 1500.0)
        return neighbour

    def heard(self, frame: Frame, snr_db: float) -> Neighbour:
        """Note that a frame was decoded, and what its header says if it is a beacon."""
        node = self._node
        neighbour = self.neighbour(frame.src)
        neighbour.heard(node.now, frame.depth_m, snr_db)
        header = frame.body
        neighbour.has_way_up = header.has_way_up
        if isinstance(header, BeaconHeader):
            neighbour.energy = header.energy
            neighbour.cost = header.cost
            if node.id in header.heard:
                self.take_feedback(neighbour, header.heard[node.id])
        return neighbour

    def take_feedback(self, neighbour: Neighbour, code: int) -> None:
        """The neighbour says at which SNR it hears this node, or that it should have and did not."""
        if not self._spec.feedback:
            return
        snr_db = decode_snr(code)
        if snr_db is None:
            neighbour.forward.censor(self._node.now, self.budget.decode_snr_db)
        else:
            neighbour.forward.sample(self._node.now, snr_db)

    def mark_down(self, neighbour: Neighbour) -> None:
        """Frames to this neighbour went unanswered: a censored sample on the link that stands for the way there."""
        link = neighbour.forward if self._spec.feedback else neighbour.reverse
        link.censor(self._node.now, self.budget.decode_snr_db)

    def is_fresh(self, neighbour: Neighbour) -> bool:
        return bool(self._node.now - neighbour.heard_s <= 3.0 * self._spec.beacon_s)

    def upward(self) -> Iterator[Neighbour]:
        """Fresh neighbours that are shallower by the threshold."""
        limit_m = self._node.depth_m - self._spec.threshold_m
        since_s = self._node.now - 3.0 * self._spec.beacon_s
        return (n for n in self.neighbours.values() if n.depth_m < limit_m and n.heard_s >= since_s)

    def has_way_up(self) -> bool:
        return next(self.upward(), None) is not None

    def forward(self, neighbour: Neighbour, at_s: float) -> tuple[Forecast | None, Work]:
        """Forecast the link to *neighbour*, from its feedback or, failing that, by reciprocity."""
        spec, now = self._spec, self._node.now
        forecast, work = None, Work()
        if spec.feedback:
            forecast, work = neighbour.forward.forecast(spec.prediction, at_s, now, spec.reuse_s)
        if forecast is None:
            forecast, work = neighbour.reverse.forecast(spec.prediction, at_s, now, spec.reuse_s)
            if forecast is not None:
                forecast = forecast._replace(std_db=forecast.std_db + spec.reciprocity_std_db)
        return forecast, work

    def reverse(self, neighbour: Neighbour, at_s: float) -> tuple[Forecast | None, Work]:
        """Forecast the link from *neighbour*, over which its acknowledgements come."""
        return neighbour.reverse.forecast(self._spec.prediction, at_s, self._node.now, self._spec.reuse_s)

    def beacons(self) -> Process:
        """Tell the neighbours about oneself and about how they are heard; note those who have fallen silent."""
        node, beacon_s = self._node, self._spec.beacon_s
        hurry_until_s = -1.0 if self.neighbours else START_S  # with nobody known, find neighbours quickly
        hurry_s = min(START_PERIOD_S, beacon_s)
        yield node.ctx.sleep((hurry_s if node.now < hurry_until_s else beacon_s) * node.rng.random())
        while True:
            self._mark_silent()
            if not (self._spec.suppress_beacons and node.now - self.last_sent_s < beacon_s / 2.0):
                heard = self._beacon_list()
                cost = math.inf if self._own_cost is None else decode_cost(encode_cost(self._own_cost()))
                beacon = BeaconHeader(node.residual_energy, node.is_sink or self._way_up(), heard, cost)
                nbytes = BEACON_BYTES + 3 * len(heard) + (self._own_cost is not None)
                yield node.send_frame(Frame("beacon", node.id, BROADCAST, nbytes, depth_m=node.depth_m, body=beacon))
            period_s = hurry_s if node.now < hurry_until_s else beacon_s
            yield node.ctx.sleep(period_s * (0.5 + node.rng.random()))

    def learn(self, history: LinkHistory) -> None:
        """Feed the predictors what beacons would have shown; neighbours heard in under 2 % of them are left out."""
        me = self._node.id
        for other in range(history.heard.shape[1]):
            inward = history.heard[:, other, me]
            if other == me or inward.sum() < 0.02 * max(1, len(inward)):
                continue
            neighbour = self.neighbour(other)
            last = int(inward.nonzero()[0][-1])
            neighbour.heard(float(history.t_s[last]), float(history.depth_m[last, other]), None)
            level_db = self.budget.decode_snr_db
            neighbour.reverse.learn(history.t_s, history.snr_db[:, other, me], inward, level_db)
            outward = history.heard[:, me, other] & inward  # feedback only comes with a beacon that is heard
            neighbour.forward.learn(history.t_s, history.snr_db[:, me, other], outward, level_db)

    def forecast(self, receiver: int, at_s: float) -> Forecast | None:
        """What this node expects of a link, for those who only want to know."""
        neighbour = self.neighbours.get(receiver)
        if neighbour is None:
            return None
        link = neighbour.forward if self._spec.feedback else neighbour.reverse
        link.update(self._spec.prediction)
        return self._spec.prediction.predict(link.state, at_s)

    def _beacon_list(self) -> dict[int, int]:
        """At which SNR each neighbour was heard since it was last listed; silent ones are listed as such."""
        ids = sorted(self.neighbours)
        if len(ids) > BEACON_LIST:
            start = self._turn % len(ids)
            ids = (ids[start:] + ids[:start])[:BEACON_LIST]
            self._turn += BEACON_LIST
        return {other: self.neighbours[other].take_report() for other in ids}

    def _mark_silent(self) -> None:
        """A neighbour whose beacon was surely due and did not come leaves a censored sample on both links."""
        level_db = self.budget.decode_snr_db
        now = self._node.now
        for neighbour in self.neighbours.values():
            if now - max(neighbour.heard_s, neighbour.marked_s) > 1.5 * self._spec.beacon_s:
                neighbour.marked_s = now
                neighbour.forward.censor(now, level_db)
                neighbour.reverse.censor(now, level_db)
