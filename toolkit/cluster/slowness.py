"""How slow machines are: stragglers, and windows in which a machine stands still."""

from __future__ import annotations

from toolkit.cluster.failures import stretched_by_outages
from toolkit.cluster.settings import ClusterSettings
from toolkit.cluster.stragglers.none import NoStragglers
from toolkit.core.streams import Streams


class Slowness:
    """How long computations of one run take on machines that may be slow or away."""

    def __init__(self, spec: ClusterSettings, streams: Streams) -> None:
        built = spec.built_topology()
        self._slow = spec.stragglers.init(built, streams)
        self._away = spec.outages(built)
        self.nowhere = not self._away and isinstance(spec.stragglers, NoStragglers)
        """Whether no machine is ever slow or away, so that nobody needs to ask."""

    def stretched_s(self, node: int, start_s: float, dur_s: float) -> float:
        """Return how long a computation of *dur_s* takes that begins at *start_s* on *node*."""
        return stretched_by_outages(self._away.get(node, []), start_s, dur_s * self._slow(node, start_s))
