"""Ideal pricing: a collective as one meeting of all workers that takes what its closed form says, whatever else is on the links."""

from __future__ import annotations

from typing import NamedTuple

from simpy.events import Event

from toolkit.cluster.messages import Mail
from toolkit.cluster.settings import ClusterSettings
from toolkit.collectives import AllReduce, LinkCost, adding, depth
from toolkit.collectives.all_reduce.parameter_server import ParameterServerAllReduce
from toolkit.core.context import Context, Payload
from toolkit.core.device import Device
from toolkit.core.size_only import SizeOnlyPayload

PROBE_BYTES = 1 << 20
ONE_A_MESSAGE = LinkCost(1.0, 0.0, 0.0)
"""With which a closed form says how many messages follow one another."""


class _Present(NamedTuple):
    """A worker that waits in a meeting."""

    rank: int
    node: int
    event: Event
    x: Payload


class IdealCollectives:
    """Where workers wait for the last to come. One event per worker and collective, so ten thousand workers are no trouble.

    The sum is taken in the order of ranks: its last bits may differ from those of a schedule of messages.
    """

    def __init__(self, spec: ClusterSettings, mail: Mail) -> None:
        self._collectives = spec.collectives
        self._mail = mail
        self._nodes = len(mail.members)
        self._device = spec.device_of(spec.built_topology().nodes[0])
        self._here: list[_Present] = []

    def join(self, ctx: Context, kind: str, x: Payload, phase: str, root: int) -> Event:
        """Take part; the event's value is this worker's result."""
        event = Event(self._mail.env)
        self._here.append(_Present(ctx.rank, ctx.node, event, x.clone()))
        if len(self._here) == ctx.size + self._servers(ctx, kind):
            here, self._here = sorted(self._here, key=lambda present: present.rank), []
            self._close(here, ctx, kind, phase, root)
        return event

    def forget(self) -> None:
        """Let nobody wait any more: the group is being formed anew."""
        self._here = []

    def link_cost(self) -> LinkCost:
        """The constants of the closed forms: those of the path from the first to the second worker."""
        if self._nodes < 2:
            return LinkCost(0.0, 0.0, 0.0)
        path = self._mail.path(0, 1)
        slowest = min(self._mail.links.bytes_per_s[link] / weight for link, weight in path.uses)
        return LinkCost(path.latency_s + path.sent_in_s + path.received_in_s, 1.0 / slowest, add_s_per_byte(self._device))

    def _schedule(self, kind: str) -> AllReduce:
        """Return the all-reduce that a request names (``all_reduce:ring``), or this cluster's (``all_reduce``)."""
        _, _, name = kind.partition(":")
        return AllReduce.find(name)() if name else self._collectives.all_reduce

    def _servers(self, ctx: Context, kind: str) -> int:
        """How many servers take part."""
        together = kind.startswith("all_reduce") and isinstance(self._schedule(kind), ParameterServerAllReduce)
        return ctx.servers if together else 0

    def _close(self, here: list[_Present], ctx: Context, kind: str, phase: str, root: int) -> None:
        size, servers = ctx.size, ctx.servers
        vectors = [present.x for present in here]
        cost = self.link_cost()
        nbytes = vectors[0].nbytes
        results: list[object]
        if kind.startswith("all_reduce"):
            schedule = self._schedule(kind)
            total = vectors[0]
            for vector in vectors[1:size]:
                total = total + vector
            results = [total.clone() for _ in here]
            dur_s, sent_bytes = schedule.seconds(nbytes, size, cost, servers), schedule.total_bytes(nbytes, size, servers)
            rounds = schedule.seconds(0, size, ONE_A_MESSAGE, servers)
        elif kind == "all_gather":
            gather = self._collectives.all_gather
            results = [[vector.clone() for vector in vectors] for _ in here]
            dur_s, sent_bytes = gather.seconds(nbytes, size, cost), gather.total_bytes(nbytes, size)
            rounds = gather.seconds(0, size, ONE_A_MESSAGE)
        else:
            results = [vectors[root].clone() for _ in here]
            dur_s = depth(size) * (cost.alpha_s + nbytes * cost.beta_s_per_byte)
            sent_bytes = (size - 1) * nbytes
            rounds = depth(size)
        for present, result in zip(here, results, strict=True):
            present.event._ok, present.event._value = True, result
            self._mail.env.schedule(present.event, delay=dur_s)
            self._charge(present.node, sent_bytes / len(here), rounds, phase, dur_s)

    def _charge(self, node: int, nbytes: float, messages: float, phase: str, dur_s: float) -> None:
        """Write down one worker's part of a collective, in which it sends as many messages as it receives, one in each round."""
        path = self._mail.path(0, 1) if self._nodes > 1 else None
        energy_j = nbytes * path.energy_j_per_byte + messages * path.handling_j if path is not None else 0.0
        self._mail.ledger.charge(
            self._mail.env.now, dur_s, node, -1, "tx", phase=phase, nbytes=round(nbytes), energy_j=energy_j, outcome="delivered",
        )


def add_s_per_byte(device: Device) -> float:
    """Time to add a received byte to what is there, the fixed cost of starting a computation left out."""
    return (device.duration_s(adding(SizeOnlyPayload(PROBE_BYTES // 4))) - device.overhead_s) / PROBE_BYTES
