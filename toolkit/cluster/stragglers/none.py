"""All machines as fast as their devices say."""

from __future__ import annotations

from typing import final

from toolkit.cluster.stragglers import Factor, Stragglers
from toolkit.cluster.topology import BuiltTopology
from toolkit.core.streams import Streams


@final
class NoStragglers(Stragglers):
    """Nobody is slow."""

    def init(self, built: BuiltTopology, streams: Streams) -> Factor:
        return lambda node, start_s: 1.0
