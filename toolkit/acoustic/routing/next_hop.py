"""DBCAR's rules for the next hop: who is a candidate, how likely a hop succeeds, what it costs, and which is best."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple, Protocol
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from toolkit.acoustic.node import SeaNode
from toolkit.acoustic.packets import Packet
from toolkit.acoustic.routing import LinkHistory
from toolkit.acoustic.routing.link_monitor import LinkMonitor
from toolkit.acoustic.routing.neighbours import Neighbour
from toolkit.acoustic.routing.shortest_path import etx_matrix, paths
from toolkit.core.work import Work

DESIGN_NBYTES = 64
"""Payload that ways are reckoned for where no packet is at hand."""
SMOOTHING = 0.1
"""Weight of the latest beacon in the share of beacons heard, from which the first costs are reckoned."""
OFTEN = 0.3
"""Share of beacons heard from which a node counts among those that hear the other too."""
POOREST = 0.05
"""A battery below this share of its charge counts as this."""

BY_COST = frozenset({"etx", "energy"})
PER_METRE = frozenset({"c_delay", "c_energy"})

_COSTS: WeakKeyDictionary[LinkHistory, NDArray[np.float64]] = WeakKeyDictionary()


class Candidate(NamedTuple):
    """A next hop and the probability that data and acknowledgement both get through."""

    neighbour: Neighbour
    success: float
    sideways: bool = False
    rivals: bool = False
    """Whether there are other candidates."""
    single: bool = False
    """Whether it is worth one frame and no more."""


class OnItsWay(Protocol):
    """What a rule has to know of a packet."""

    @property
    def packet(self) -> Packet: ...
    @property
    def previous(self) -> int: ...
    @property
    def limit(self) -> float: ...


class RuleSettings(Protocol):
    """The settings of DBCAR that its rules read."""

    @property
    def rule(self) -> str: ...
    @property
    def p_min(self) -> float: ...
    @property
    def sideways_p(self) -> float: ...
    @property
    def way_up_p(self) -> float: ...
    @property
    def threshold_m(self) -> float: ...
    @property
    def guard_s(self) -> float: ...


class PathCost:
    """What a hop adds to the cost of a way, and what is known of the costs of ways before the run."""

    def __init__(self, node: SeaNode, *, energy: bool) -> None:
        self._node = node
        self._energy = energy

    def price(self, fresh: Iterable[Neighbour]) -> float:
        """What one transmission costs: 1; or the energy that this node and all *fresh* neighbours, who hear it, spend on it.

        Energy is in units of what two ends with full batteries spend, and dearer by E0 / E to whose battery runs low.
        """
        if not self._energy:
            return 1.0
        modem = self._node.modem
        own = modem.tx_w / max(self._node.residual_energy, POOREST)
        heard = modem.rx_w * sum(1.0 if n.is_surface else 1.0 / max(n.energy, POOREST) for n in fresh)
        return (own + heard) / (modem.tx_w + modem.rx_w)

    def learn(self, history: LinkHistory, neighbours: dict[int, Neighbour]) -> None:
        """Begin with the costs that beacons would have spread by the end of the history, in which nodes count what they hear."""
        if not len(history.t_s):
            return
        costs = _COSTS.get(history)
        if costs is None:
            weight = (1.0 - SMOOTHING) ** np.arange(len(history.t_s) - 1, -1, -1)
            heard = np.tensordot(weight / weight.sum(), history.heard, axes=1)
            prices = np.ones(len(heard))
            if self._energy:  # all batteries are full
                modem = self._node.modem
                prices = (modem.tx_w + modem.rx_w * (heard > OFTEN).sum(axis=0)) / (modem.tx_w + modem.rx_w)
            costs = _COSTS[history] = paths(etx_matrix(heard, heard) * prices[:, None], self._node.sinks)[1]
        for other, neighbour in neighbours.items():
            neighbour.cost = float(costs[other])


class NextHop:
    """The rules at one node. Whatever they have to forecast is returned as work beside the answer."""

    def __init__(
        self, spec: RuleSettings, node: SeaNode, monitor: LinkMonitor, costs: PathCost | None, *, header_nbytes: int, ack_nbytes: int
    ) -> None:
        self._spec = spec
        self._node = node
        self._monitor = monitor
        self._costs = costs
        self._header_nbytes = header_nbytes
        self._ack_nbytes = ack_nbytes

    def data_nbytes(self, payload_nbytes: int) -> int:
        """Length of a data frame."""
        return self._header_nbytes + payload_nbytes

    def success(self, neighbour: Neighbour, payload_nbytes: int, begin_s: float, enough: float = 0.0) -> tuple[float, Work]:
        """Probability that data sent at *begin_s* are acknowledged, and the work of the forecasts.

        Where the way there alone stays below *enough*, the way back is not asked for.
        """
        monitor, nbytes = self._monitor, self.data_nbytes(payload_nbytes)
        arrival_s = begin_s + self._node.modem.frame_s(nbytes) + neighbour.delay_s
        forward, work = monitor.forward(neighbour, arrival_s)
        success = monitor.budget.success(forward, 8 * nbytes)
        if success <= 0.0 or success < enough:
            return success, work
        reverse, cost = monitor.reverse(neighbour, arrival_s)
        return success * monitor.budget.success(reverse, 8 * self._ack_nbytes), work + cost

    def candidates(self, carried: OnItsWay) -> tuple[list[Candidate], Candidate | None, Work]:
        """Return the candidates looked at, the one that ends the search if one does, and the work.

        Depth rules look in rule A's order of preference, cost rules in the order of cost, and no further than needed.
        """
        if self._knows_costs():
            return self._by_cost(carried)
        spec, work = self._spec, Work()
        upward = sorted(self._free(self._monitor.upward(), carried), key=lambda n: (not n.is_surface, n.depth_m, -n.energy))
        greedy = spec.rule not in PER_METRE
        hops: list[Candidate] = []
        for neighbour in upward:
            success, cost = self.success(neighbour, carried.packet.nbytes, self._node.now, spec.p_min if greedy else 0.0)
            work += cost
            hops.append(Candidate(neighbour, success, rivals=len(upward) > 1))
            if success >= spec.p_min and (greedy or neighbour.is_surface):  # rule A
                return hops, hops[-1], work
        return hops, None, work

    def best(self, hops: list[Candidate]) -> Candidate | None:
        """The best of *hops* by rule B, or by what rules C or the costs minimise."""
        return min(hops, key=self.cost, default=None)

    def cost(self, hop: Candidate) -> float:
        """What is minimised: minus the expected advance, expected delay or energy per metre gained, or the cost of the whole way."""
        spec, modem = self._spec, self._node.modem
        sure = max(hop.success, 1e-12)
        if self._costs is not None and hop.neighbour.way_cost < math.inf:
            return self._costs.price(self._fresh()) / sure + hop.neighbour.way_cost
        gain_m = self._node.depth_m - hop.neighbour.depth_m
        if spec.rule not in PER_METRE:
            return -gain_m * hop.success
        data_s, ack_s = modem.frame_s(self.data_nbytes(DESIGN_NBYTES)), modem.frame_s(self._ack_nbytes)
        if spec.rule == "c_delay":
            rtt_s = hop.neighbour.answers.mean_s
            price = data_s + (2.0 * hop.neighbour.delay_s + ack_s if rtt_s is None else rtt_s) + spec.guard_s
        else:  # what both ends spend on the two frames
            price = (data_s + ack_s) * (modem.tx_w + modem.rx_w)
        return price / (gain_m * sure)

    def sideways(self, carried: OnItsWay) -> tuple[Candidate | None, Work]:
        """The surest neighbour that has a way, although it is no nearer to a sink."""
        spec, node, work = self._spec, self._node, Work()
        best: Candidate | None = None
        by_cost = self._knows_costs()
        for neighbour in self._free(self._fresh(), carried):
            if by_cost:
                open_to = carried.limit <= neighbour.way_cost < math.inf
            else:
                open_to = neighbour.depth_m >= node.depth_m - spec.threshold_m and neighbour.has_way_up
            if not open_to:
                continue
            success, cost = self.success(neighbour, carried.packet.nbytes, node.now, spec.sideways_p)
            work += cost
            if success >= spec.sideways_p and (best is None or success > best.success):
                best = Candidate(neighbour, success, sideways=True)
        return best, work

    def way_up(self) -> tuple[bool, Work]:
        """Whether there is a way up: a fresh shallower neighbour that is foreseen to succeed with `way_up_p`, or one that told a cost."""
        work = Work()
        if self._knows_costs():
            return True, work
        for neighbour in sorted(self._monitor.upward(), key=lambda n: (not n.is_surface, n.depth_m)):
            if self._spec.way_up_p == 0.0:
                return True, work
            success, cost = self.success(neighbour, DESIGN_NBYTES, self._node.now, self._spec.way_up_p)
            work += cost
            if success >= self._spec.way_up_p:
                return True, work
        return False, work

    def own_cost(self) -> tuple[float, Work]:
        """The cost of this node's best way to a sink: 0 for a sink, infinite where there is none."""
        work = Work()
        if self._node.is_sink or self._costs is None:
            return (0.0 if self._node.is_sink else math.inf), work
        cheapest, fresh = math.inf, self._fresh()
        price = self._costs.price(fresh)
        for neighbour in sorted((n for n in fresh if n.way_cost < math.inf), key=lambda n: n.way_cost):
            if neighbour.way_cost + price >= cheapest:
                continue
            enough = price / (cheapest - neighbour.way_cost)  # below this it cannot become the cheapest
            success, cost = self.success(neighbour, DESIGN_NBYTES, self._node.now, enough)
            work += cost
            if success > enough:
                cheapest = neighbour.way_cost + price / success
        return cheapest, work

    def _knows_costs(self) -> bool:
        """Whether next hops are ranked by cost here; before any neighbour has told one, depth ranks them."""
        return self._costs is not None and any(neighbour.way_cost < math.inf for neighbour in self._fresh())

    def _by_cost(self, carried: OnItsWay) -> tuple[list[Candidate], Candidate | None, Work]:
        known = [n for n in self._free(self._fresh(), carried) if n.way_cost < carried.limit]
        work, cheapest = Work(), math.inf
        hops: list[Candidate] = []
        for neighbour in sorted(known, key=lambda n: n.way_cost):
            if self.cost(Candidate(neighbour, 1.0)) >= cheapest:  # even if it were sure
                continue
            success, cost = self.success(neighbour, carried.packet.nbytes, self._node.now)
            work += cost
            hops.append(Candidate(neighbour, success, rivals=len(known) > 1))
            cheapest = min(cheapest, self.cost(hops[-1]))
        return hops, None, work

    def _fresh(self) -> list[Neighbour]:
        return [n for n in self._monitor.neighbours.values() if self._monitor.is_fresh(n)]

    def _free(self, neighbours: Iterable[Neighbour], carried: OnItsWay) -> list[Neighbour]:
        """Those that are not left alone at present and did not send the packet here."""
        now = self._node.now
        return [n for n in neighbours if n.blacklist_until_s <= now and n.id != carried.previous]
