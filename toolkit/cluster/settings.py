"""The settings of a cluster: machines, links, what can go wrong, and which of them do not go together."""

from __future__ import annotations

from functools import lru_cache
from itertools import islice
from typing import ClassVar, Literal, final

from pydantic import Field

from toolkit.cluster.failures import Failures
from toolkit.cluster.stragglers import Stragglers
from toolkit.cluster.topology import BuiltTopology, Topology
from toolkit.collectives import Collectives
from toolkit.core.device import Device
from toolkit.core.fabric import Fabric
from toolkit.core.machines import Machines
from toolkit.core.part import Spec, default_part
from toolkit.core.streams import Streams
from toolkit.errors import ScenarioError


@final
class NetworkSettings(Spec):
    """How far transfers fall short of the ideal fluid. The defaults change nothing.

    Source: SimGrid's TCP model uses bandwidth 0.97, latency 13.01 and 5 % of acknowledgements; those values are for its own validation
    set-ups and none of them is right everywhere.
    """

    bandwidth_factor: float = Field(1.0, gt=0, le=1, description="share of a link's rate that transfers can use")
    latency_factor: float = Field(1.0, ge=0, description="how many delays of the path a transfer pays (slow start)")
    ack_share: float = Field(0.0, ge=0, lt=1, description="rate on the way back, as a share of the rate of the data")


class ClusterSettings(Fabric):
    """What a cluster is made of, and what can go wrong; `toolkit.cluster.fabric.Cluster` puts it to work."""

    ends_by_itself: ClassVar[bool] = True

    workers: int = Field(8, ge=1, le=100_000, description="number of workers (P)")
    servers: int = Field(0, ge=0, le=1000, description="number of parameter servers, for methods that have them")
    device: Device = default_part("raspberry_pi_5", "machine of every worker and server")
    node_devices: dict[str, Device] = Field(default_factory=dict, description="machines of single nodes, e.g. {worker3: jetson_nano}")
    topology: Topology = default_part("star")
    network: NetworkSettings = NetworkSettings()
    collectives: Collectives = Collectives()
    pricing: Literal["messages", "ideal"] = Field("messages", description="every message simulated, or collectives at their closed form")
    stragglers: Stragglers = default_part("none")
    failures: Failures = Failures()

    def built_topology(self) -> BuiltTopology:
        """Return the nodes and links."""
        return _built(self.topology, self.workers, self.servers)

    def device_of(self, name: str) -> Device:
        """Return the machine of a node."""
        return self.node_devices.get(name, self.device)

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
        check_group(self)

    def machines(self) -> Machines:
        devices = {name: self.device_of(name) for name in self.built_topology().nodes}
        workers = dict(islice(devices.items(), self.workers))
        servers = {name: device for name, device in devices.items() if name not in workers}
        crashes = tuple(crash.node for crash in self.failures.crashes)
        return Machines(workers, servers, crashes, inexact=self.collectives.inexact)

    def feedback(self) -> str:
        """Say why what is learnt depends on what things cost here; empty where it does not."""
        if self.failures.crashes:
            return "a worker crashed at a set time, and what the others had done by then depends on the machines and links"
        return ""

    def extras(self) -> dict[str, str]:
        device = self.device
        return {
            "machines": f"{self.workers} workers and {self.servers} servers, each {device.profile or 'as described'}: "
            f"{device.peak_flops_per_s * device.efficiency / 1e9:.3g} GFLOP/s reached, {device.memory_bytes_per_s / 1e9:.3g} GB/s, "
            f"{device.idle_w:g} W idle, {device.busy_w:g} W busy",
            "topology": self.topology.type_name(),
            "collectives": f"{self.collectives.all_reduce.type_name()} all-reduce, {self.collectives.all_gather.type_name()} all-gather, "
            f"priced by {self.pricing}",
        }


@lru_cache(maxsize=8)
def _built(topology: Topology, workers: int, servers: int) -> BuiltTopology:
    return topology.init(workers, servers)


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
