"""Small clusters and programs for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from toolkit.cluster.fabric import Cluster
from toolkit.cluster.network import ClusterNetwork
from toolkit.core.context import Asking, Context
from toolkit.core.program import Program
from toolkit.core.world import World

FREE = {"overhead_s": 0.0, "peak_flops_per_s": 1e12, "efficiency": 1.0, "memory_bytes_per_s": 1e10, "idle_w": 2.0, "busy_w": 5.0}
"""A device without fixed costs, so that closed forms hold exactly."""
LINK = {"rate_bps": 8e6, "delay_s": 0.001, "energy_j_per_bit": 1e-9, "idle_w": 0.0}
"""1 MB/s and 1 ms a link: 2 ms between two nodes of a star."""


class Written(Program):
    """A program given as a function."""

    act: Callable[[Context], Asking]

    def run(self, ctx: Context) -> Asking:
        return self.act(ctx)


def cluster(workers: int = 4, **settings: Any) -> Cluster:
    """A star of simple machines and links; *settings* override."""
    tree = {"workers": workers, "device": FREE, "topology": {"type": "star", "link": LINK}, **settings}
    return Cluster.model_validate(tree)


def simulate(spec: Cluster, act: Callable[[Context], Asking], seed: int = 1) -> tuple[World, ClusterNetwork]:
    """Run *act* on every node to its end."""
    world = World(seed, float("inf"))
    network = spec.build(world)
    done = network.launch(Written(act=act))
    world.env.run(until=done)
    network.finish()
    return world, network
