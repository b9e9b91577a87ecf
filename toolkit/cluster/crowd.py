"""The crowd of a cluster: a server's clients as arrays, whose messages share the server's links in closed form.

What it says is what `pricing: messages` says: the same flows, latencies and computations, for many more clients. An idle client costs
nothing but its place in some arrays; one that computes writes one row of the ledger for all steps of a visit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np

from toolkit.cluster.messages import Mail
from toolkit.cluster.settings import ClusterSettings
from toolkit.cluster.shared_link import SharedLink
from toolkit.cluster.ways import ways_of
from toolkit.core.crowd import DOWN, GRADIENT, UP, WAKING, Ended, Errand
from toolkit.core.device import Device
from toolkit.core.work import Work
from toolkit.core.world import World

BITS = 8.0


class _Trip(NamedTuple):
    """An errand under way in one direction."""

    errand: Errand
    begun_s: float
    nbytes: int
    ended: Ended | None = None
    """Of one on its way back."""


class _Leaving(NamedTuple):
    """What the server has handled, and sends."""

    trip: _Trip


class _Unhandled(NamedTuple):
    """What the server has received, and not handled."""

    ended: Ended


_Due = _Trip | _Leaving | _Unhandled | Ended


class ClusterCrowd:
    """See `toolkit.core.crowd.Crowd`."""

    def __init__(self, spec: ClusterSettings, mail: Mail, world: World, server_woken_s: Callable[[], float]) -> None:
        """*server_woken_s* says how long what the server sends with takes to wake, if it slept."""
        self.spec, self.mail, self.ledger = spec, mail, world.ledger
        built = spec.built_topology()
        self._built, self._server = built, spec.workers
        self._ways = ways = ways_of(built, spec.workers)
        factor = spec.network.bandwidth_factor / BITS
        self._down = SharedLink[_Trip](ways.shared_down_bps * factor, [way.own_bps * factor for way in ways.down])
        self._up = SharedLink[_Trip](ways.shared_up_bps * factor, [way.own_bps * factor for way in ways.up])
        self._down_s, self._up_s = ([way.delay_s * spec.network.latency_factor for way in each] for each in (ways.down, ways.up))
        self._down_j, self._up_j = ([way.energy_j_per_bit * BITS for way in each] for each in (ways.down, ways.up))
        self._kind = ways.kind.tolist()
        self.devices, self.device_of = spec.drawn_devices(world.streams)
        """Machines of some kinds, and by client which of them it is."""
        self.busy_s = np.zeros(spec.workers)
        """Time in s that each client has computed."""
        self.carried_nbytes = np.zeros((2, spec.workers))
        """Down to each client, and up from it."""
        server = spec.device_of(built.nodes[spec.workers])
        self._server_s, self._server_j = server.handling_s, server.handling_j
        self._server_until_s = 0.0
        """When the server has handled all messages that it has by now: one at a time."""
        self._client_s = [each.handling_s for each in self.devices]
        self._client_j = [each.handling_j for each in self.devices]
        self._server_woken_s = server_woken_s
        self._steps_s: dict[tuple[int, Work], float] = {}
        self._agenda: list[tuple[float, int, _Due]] = []
        """What happens to clients by themselves: a message for one leaves, one that has it computes, one that has computed sends, and its
        message is there, and handled."""
        self._noted = 0
        self._ended: list[Ended] = []
        """There, and not told yet."""

    def send_out(self, errands: Sequence[Errand], now_s: float) -> None:
        while self._next_s() <= now_s:
            self._happen(self._next_s())
        late_s = self._server_woken_s() if errands else 0.0
        self._server_until_s = max(now_s, self._server_until_s) + late_s
        for errand in errands:
            trip = _Trip(errand, now_s, errand.down_nbytes)
            if self._server_s or late_s:
                self._note(self._handled_s(now_s), _Leaving(trip))
            else:
                self._down.start(now_s, self._kind[errand.client], trip.nbytes, trip)
        self._down.settle()

    def _handled_s(self, now_s: float) -> float:
        """Return when the server will have handled one message more."""
        self._server_until_s = max(now_s, self._server_until_s) + self._server_s
        return self._server_until_s

    def next_ended(self, now_s: float, until_s: float) -> tuple[float, list[Ended]]:
        at_s = now_s
        while not self._ended:
            if (next_s := self._next_s()) > until_s:
                return until_s, []
            at_s = max(now_s, next_s)
            self._happen(next_s)
        while self._next_s() <= at_s:
            self._happen(self._next_s())
        ended, self._ended = self._ended, []
        return at_s, ended

    def _next_s(self) -> float:
        return min(self._down.next_s, self._up.next_s, self._agenda[0][0] if self._agenda else math.inf)

    def _happen(self, at_s: float) -> None:
        """Let all that is due at *at_s*, the next instant at which anything is, happen."""
        if self._down.next_s <= at_s:
            for trip in self._down.take():
                client, kind = trip.errand.client, self._kind[trip.errand.client]
                self.ledger.charge(
                    trip.begun_s, at_s - trip.begun_s, self._server, client, "tx", phase=DOWN, nbytes=trip.nbytes,
                    energy_j=trip.nbytes * self._down_j[kind] + self._handling_j(client), outcome="delivered",
                )
                self.carried_nbytes[0, client] += trip.nbytes
                self._note(at_s + self._down_s[kind] + self._client_s[self.device_of[client]], trip)
            self._down.settle()
        if self._up.next_s <= at_s:
            for trip in self._up.take():
                client, kind = trip.errand.client, self._kind[trip.errand.client]
                self.ledger.charge(
                    trip.begun_s, at_s - trip.begun_s, client, self._server, "tx", phase=UP, nbytes=trip.nbytes,
                    energy_j=trip.nbytes * self._up_j[kind] + self._handling_j(client), outcome="delivered",
                )
                self.carried_nbytes[1, client] += trip.nbytes
                assert trip.ended is not None
                self._note(at_s + self._up_s[kind], _Unhandled(trip.ended) if self._server_s else trip.ended)
            self._up.settle()
        sent = left = False
        while self._agenda and self._agenda[0][0] <= at_s:
            what = heappop(self._agenda)[2]
            if isinstance(what, Ended):
                self._ended.append(what)
            elif isinstance(what, _Unhandled):
                self._note(self._handled_s(at_s), what.ended)
            elif isinstance(what, _Leaving):
                self._down.start(at_s, self._kind[what.trip.errand.client], what.trip.nbytes, what.trip)
                left = True
            elif what.ended is None:
                self._compute(at_s, what.errand)
            else:
                self._up.start(at_s, self._kind[what.errand.client], what.nbytes, what)
                sent = True
        if sent:
            self._up.settle()
        if left:
            self._down.settle()

    def _handling_j(self, client: int) -> float:
        """What the server and a client draw for handling a message between them."""
        return self._server_j + self._client_j[int(self.device_of[client])]

    def _compute(self, at_s: float, errand: Errand) -> None:
        """Let a client that has its message do its steps, as many as it begins in time, and then send."""
        device = self.devices[self.device_of[errand.client]]
        step_s = self._step_s(int(self.device_of[errand.client]), device, errand.work)
        steps = min(errand.steps, max(1, math.ceil(errand.limit_s / step_s))) if math.isfinite(errand.limit_s) else errand.steps
        left = errand.until_s <= at_s + steps * step_s
        if left:
            steps = min(steps, max(0, math.ceil((errand.until_s - at_s) / step_s)))
        dur_s, woken_s = steps * step_s, 0.0
        if steps:
            work = errand.work
            self.ledger.charge(
                at_s, dur_s, errand.client, errand.client, "compute", phase=GRADIENT, flops=steps * work.flops,
                nbytes=int(steps * (work.read_bytes + work.write_bytes)), energy_j=dur_s * device.busy_w, outcome="done",
            )
            woken_s = device.waking_s(dur_s)
            if woken_s:
                self.ledger.charge(
                    at_s + dur_s, woken_s, errand.client, errand.client, "compute", phase=WAKING, energy_j=woken_s * device.busy_w,
                    outcome="done",
                )
            self.busy_s[errand.client] += dur_s + woken_s
        nbytes = errand.goodbye_nbytes if left else errand.up_nbytes
        handled_s = woken_s + self._client_s[self.device_of[errand.client]]
        self._note(at_s + dur_s + handled_s, _Trip(errand, at_s + dur_s, nbytes, Ended(errand.number, errand.client, left, steps)))

    def _step_s(self, kind: int, device: Device, work: Work) -> float:
        found = self._steps_s.get((kind, work))
        if found is None:
            found = self._steps_s[kind, work] = device.duration_s(work, GRADIENT)
        return found

    def _note(self, at_s: float, what: _Due) -> None:
        self._noted += 1
        heappush(self._agenda, (at_s, self._noted, what))

    def close(self, end_s: float) -> None:
        """Charge what the clients drew while they waited, and count what their links carried."""
        carried = self.mail.links.carried_bytes
        for client, busy_s in enumerate(self.busy_s.tolist()):
            idle_s = max(0.0, end_s - busy_s)
            idle_w = self.devices[self.device_of[client]].idle_w
            self.ledger.charge(0.0, idle_s, client, client, "idle", phase="host", energy_j=idle_s * idle_w, outcome="done")
        for way, ends in ((0, lambda client: (self._server, client)), (1, lambda client: (client, self._server))):
            for client in np.flatnonzero(self.carried_nbytes[way]).tolist():
                for link in self._built.route(*ends(client)):
                    carried[link] += float(self.carried_nbytes[way, client])
