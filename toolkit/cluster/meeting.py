"""Ideal pricing: a collective as one meeting of all workers that takes what its closed form says, whatever else is on the links."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simpy.events import Event

from toolkit.collectives import adding, depth
from toolkit.collectives.all_reduce.parameter_server import ParameterServer
from toolkit.core.context import Payload
from toolkit.core.device import Device
from toolkit.core.phantom import Phantom

if TYPE_CHECKING:
    from toolkit.cluster.network import ClusterNetwork
    from toolkit.cluster.worker import WorkerContext

PROBE_BYTES = 1 << 20


class Meeting:
    """Where workers wait for the last to come. One event per worker and collective, so ten thousand workers are no trouble.

    The sum is taken in the order of ranks: its last bits may differ from those of a schedule of messages.
    """

    def __init__(self, network: ClusterNetwork) -> None:
        self.network = network
        self._here: list[tuple[int, Event, Payload]] = []

    def join(self, ctx: WorkerContext, kind: str, x: Payload, phase: str, root: int) -> Event:
        """Take part; the event's value is this worker's result."""
        event = Event(self.network.world.env)
        self._here.append((ctx.rank, event, x.clone()))
        if len(self._here) == ctx.size + self._servers(ctx, kind):
            here, self._here = sorted(self._here, key=lambda entry: entry[0]), []
            self._close(here, ctx, kind, phase, root)
        return event

    def _servers(self, ctx: WorkerContext, kind: str) -> int:
        """How many servers take part."""
        together = kind.startswith("all_reduce") and isinstance(self.network.schedule(kind), ParameterServer)
        return ctx.servers if together else 0

    def forget(self) -> None:
        """Let nobody wait any more: the group is being formed anew."""
        self._here = []

    def _close(self, here: list[tuple[int, Event, Payload]], ctx: WorkerContext, kind: str, phase: str, root: int) -> None:
        network, size, servers = self.network, ctx.size, ctx.servers
        vectors = [x for _, _, x in here]
        cost = network.link_cost()
        nbytes = vectors[0].nbytes
        results: list[Any]
        if kind.startswith("all_reduce"):
            schedule = network.schedule(kind)
            total = vectors[0]
            for vector in vectors[1:size]:
                total = total + vector
            results = [total.clone() for _ in here]
            dur_s, sent_bytes = schedule.seconds(nbytes, size, cost, servers), schedule.total_bytes(nbytes, size, servers)
        elif kind == "all_gather":
            gather = network.spec.collectives.all_gather
            results = [[vector.clone() for vector in vectors] for _ in here]
            dur_s, sent_bytes = gather.seconds(nbytes, size, cost), gather.total_bytes(nbytes, size)
        else:
            results = [vectors[root].clone() for _ in here]
            dur_s = depth(size) * (cost.alpha_s + nbytes * cost.beta_s_per_byte)
            sent_bytes = (size - 1) * nbytes
        for (rank, event, _), result in zip(here, results, strict=True):
            event._ok, event._value = True, result
            network.world.env.schedule(event, delay=dur_s)
            network.charge_ideal(rank, sent_bytes / len(here), phase, dur_s)



def add_s_per_byte(device: Device) -> float:
    """Time to add a received byte to what is there, the fixed cost of starting a computation left out."""
    return (device.duration_s(adding(Phantom(PROBE_BYTES // 4))) - device.overhead_s) / PROBE_BYTES
