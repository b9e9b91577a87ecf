"""The settings of a cluster: machines, links, what can go wrong, and which of them do not go together."""

from __future__ import annotations

from functools import lru_cache
from itertools import islice
from typing import ClassVar, Literal, final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from toolkit.cluster.failures import Failures
from toolkit.cluster.stragglers import Stragglers
from toolkit.cluster.topology import BuiltTopology, Topology
from toolkit.cluster.ways import trips, ways_of
from toolkit.collectives import Collectives
from toolkit.core.crowd import GRADIENT
from toolkit.core.device import Device
from toolkit.core.fabric import Fabric
from toolkit.core.machines import Machines
from toolkit.core.part import Spec, default_part
from toolkit.core.room import check_room
from toolkit.core.streams import Streams
from toolkit.core.words import counted
from toolkit.core.work import Work
from toolkit.errors import ScenarioError

NODE_BYTES = 2000
"""What a node and its links take in memory before anything is run."""


@final
class NetworkSettings(Spec):
    """How far transfers fall short of the ideal fluid. The defaults change nothing.

    Source: SimGrid's TCP model uses bandwidth 0.97, latency 13.01 and 5 % of acknowledgements; those values are for its own validation
    set-ups and none of them is right everywhere.
    """

    bandwidth_factor: float = Field(1.0, gt=0, le=1, description="share of a link's rate that transfers can use")
    latency_factor: float = Field(1.0, ge=0, description="how many delays of the path a transfer pays (slow start)")
    ack_share: float = Field(0.0, ge=0, lt=1, description="rate on the way back, as a share of the rate of the data")


@final
class DeviceShare(Spec):
    """A kind of machine, and how many of the workers are of it."""

    device: Device = Field(description="a machine of this kind")
    share: float = Field(gt=0, description="part of the workers that are of this kind, next to the shares of the other kinds")


class ClusterSettings(Fabric):
    """What a cluster is made of, and what can go wrong; `toolkit.cluster.fabric.Cluster` puts it to work."""

    ends_by_itself: ClassVar[bool] = True

    workers: int = Field(8, ge=1, le=1_000_000, description="number of workers (P)")
    servers: int = Field(0, ge=0, le=1000, description="number of parameter servers, for methods that have them")
    device: Device = default_part("raspberry_pi_5", "machine of every worker and server")
    node_devices: dict[str, Device] = Field(default_factory=dict, description="machines of single nodes, e.g. {worker3: jetson_nano}")
    worker_devices: list[DeviceShare] = Field(
        default_factory=list, description="kinds of machines, drawn by their shares for the workers; servers keep `device`"
    )
    topology: Topology = default_part("star", "how machines are connected, and by which links")
    network: NetworkSettings = Field(NetworkSettings(), description="what becomes of all links together: factors of bandwidth and latency")
    collectives: Collectives = Field(Collectives(), description="schedules of all-reduce and all-gather")
    pricing: Literal["messages", "ideal"] = Field("messages", description="messages, or closed forms of collectives and led clients")
    stragglers: Stragglers = default_part("none", "what slows single machines down")
    failures: Failures = Field(Failures(), description="crashes, outages and slow links")

    def built_topology(self) -> BuiltTopology:
        """Return the nodes and links."""
        return _built(self.topology, self.workers, self.servers)

    def device_of(self, name: str) -> Device:
        """Return the machine of a node."""
        return self.node_devices.get(name, self.device)

    def drawn_devices(self, streams: Streams) -> tuple[list[Device], NDArray[np.int64]]:
        """Return the machines that there are, and for each worker which of them it has: drawn, unless `node_devices` names it."""
        kinds = [each.device for each in self.worker_devices] or [self.device]
        shares = np.array([each.share for each in self.worker_devices] or [1.0])
        which = streams.shared("devices").choice(len(kinds), size=self.workers, p=shares / shares.sum())
        for name, device in self.node_devices.items():
            node = self.built_topology().index_of_node(name)
            if node < self.workers:
                which[node] = len(kinds)
                kinds.append(device)
        return kinds, which

    @property
    def keeps_crowd(self) -> bool:
        """Whether clients that a server leads are kept as arrays (`toolkit.core.crowd`)."""
        return self.pricing == "ideal"

    def check_crowd(self) -> None:
        """Refuse what a crowd does not know: slow and absent machines, acknowledgements, several servers, links that some clients share."""
        failures = self.failures
        for place, wrong in (
            ("stragglers", self.stragglers.type_name() != "none"), ("network.ack_share", self.network.ack_share > 0),
            ("failures", bool(failures.crashes or failures.outages or failures.degradations)), ("servers", self.servers != 1),
        ):
            if wrong:
                what = "takes exactly one server" if place == "servers" else "leaves them out"
                raise ScenarioError(f"fabric.{place}: pricing: ideal of clients that a server leads {what}; use pricing: messages")
        try:
            ways_of(self.built_topology(), self.workers)
        except ValueError as error:
            name = self.topology.type_name()
            raise ScenarioError(
                f"fabric.topology: in '{name}' {error}, which pricing: ideal does not know; use star or wan_edge, or pricing: messages"
            ) from error

    def quickest_s(self, work: Work, steps: int, down_nbytes: int, up_nbytes: int) -> float:
        """Return the shortest time in s that any worker, alone on all links, needs to get a message, take *steps* and send one back."""
        devices = [each.device for each in self.worker_devices] or [self.device]
        computing_s = min(device.duration_s(work, GRADIENT) for device in [*devices, *self.node_devices.values()]) * steps
        share = self.network.bandwidth_factor / 8
        trips_s = (
            self.network.latency_factor * delay_s + (down_nbytes / down_bps + up_nbytes / up_bps) / share
            for delay_s, down_bps, up_bps in trips(self.built_topology(), self.workers)
        )
        return computing_s + min(trips_s)

    def outages(self, built: BuiltTopology) -> dict[int, list[tuple[float, float]]]:
        """Return the windows in which a node's processor stands still, by node, joined where they overlap."""
        found: dict[int, list[tuple[float, float]]] = {}
        for outage in sorted(self.failures.outages, key=lambda item: item.from_s):
            windows = found.setdefault(built.index_of_node(outage.node), [])
            if windows and outage.from_s <= windows[-1][1]:
                windows[-1] = (windows[-1][0], max(windows[-1][1], outage.to_s))
            else:
                windows.append((outage.from_s, outage.to_s))
        return found

    def check(self, duration_s: float) -> None:
        check_room(NODE_BYTES * (self.workers + self.servers), "fabric.workers", f"{self.workers} workers and their links")
        check_group(self)

    def machines(self) -> Machines:
        """Return them by name; where kinds are drawn, every kind in turn."""
        return _machines(self)

    def feedback(self) -> str:
        """Say why what is learnt depends on what things cost here; empty where it does not."""
        if self.failures.crashes:
            return "a worker crashed at a set time, and what the others had done by then depends on the machines and links"
        return ""

    def extras(self) -> dict[str, str]:
        device = self.device
        return {
            "machines": f"{counted(self.workers, 'worker')} and {counted(self.servers, 'server')}, each "
            f"{device.profile or 'as described'}: "
            f"{device.peak_flops_per_s * device.efficiency / 1e9:.3g} GFLOP/s reached, {device.memory_bytes_per_s / 1e9:.3g} GB/s, "
            f"{device.idle_w:g} W idle, {device.busy_w:g} W busy",
            "topology": self.topology.type_name(),
            "collectives": f"{self.collectives.all_reduce.type_name()} all-reduce, {self.collectives.all_gather.type_name()} all-gather, "
            f"priced by {self.pricing}",
        }


@lru_cache(maxsize=8)
def _built(topology: Topology, workers: int, servers: int) -> BuiltTopology:
    return topology.init(workers, servers)


@lru_cache(maxsize=4)
def _machines(spec: ClusterSettings) -> Machines:
    kinds = [each.device for each in spec.worker_devices]
    names = spec.built_topology().nodes
    devices = {name: spec.device_of(name) for name in names}
    for place, name in enumerate(names[: spec.workers] if kinds else ()):
        devices[name] = spec.node_devices.get(name, kinds[place % len(kinds)])
    workers = dict(islice(devices.items(), spec.workers))
    servers = {name: device for name, device in devices.items() if name not in workers}
    crashes = tuple(crash.node for crash in spec.failures.crashes)
    return Machines(workers, servers, crashes, inexact=spec.collectives.inexact)


def check_group(spec: ClusterSettings) -> None:
    """Refuse crashes that leave nobody, and names that the topology does not know."""
    for name in ("all_reduce", "all_gather"):
        schedule = getattr(spec.collectives, name)
        if schedule.by_hub and not schedule.exact:
            raise ScenarioError(f"fabric.collectives.{name}: only the hub of a sea goes on without what is late; leave out deadline_s")
    built = spec.built_topology()
    try:
        spec.stragglers.init(built, Streams(0))
    except ValueError as error:
        raise ScenarioError(f"fabric.stragglers: {error}") from error
    for place, names, find in (
        ("failures.crashes", [crash.node for crash in spec.failures.crashes], built.index_of_node),
        ("failures.outages", [outage.node for outage in spec.failures.outages], built.index_of_node),
        ("failures.degradations", [slow.link for slow in spec.failures.degradations], built.index_of_link),
        ("node_devices", list(spec.node_devices), built.index_of_node),
    ):
        for name in names:
            try:
                node = find(name)
            except ValueError as error:
                raise ScenarioError(f"fabric.{place}: {error}") from error
            if place == "failures.crashes" and node >= spec.workers:
                raise ScenarioError(f"fabric.{place}: '{name}' is a server; only workers can be lost (the method has no second server)")
    if len({crash.node for crash in spec.failures.crashes}) >= spec.workers:
        raise ScenarioError(f"fabric.failures.crashes: all {spec.workers} workers crash; at least one must be left")
