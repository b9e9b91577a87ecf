"""The cluster fabric: workers and servers, the links between them, and what can go wrong."""

from __future__ import annotations

from typing import final

from toolkit.cluster.network import ClusterNetwork
from toolkit.cluster.settings import ClusterSettings
from toolkit.core.world import World


@final
class Cluster(ClusterSettings):
    """Machines joined by links: a rack of workers, a ring of GPUs, boards at the edge."""

    def build(self, world: World) -> ClusterNetwork:
        return ClusterNetwork(self, world)
