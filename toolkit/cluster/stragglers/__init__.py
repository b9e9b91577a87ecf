"""Stragglers: why the same work takes longer on one machine than on another, or today than yesterday."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

from toolkit.cluster.topology import BuiltTopology
from toolkit.core.part import Part
from toolkit.core.streams import Streams

Factor = Callable[[int, float], float]
"""(node, start of a computation in s) to how many times longer it takes."""


class Stragglers(Part):
    """What slows single machines down."""

    family: ClassVar[str] = "stragglers"

    @abstractmethod
    def init(self, built: BuiltTopology, streams: Streams) -> Factor:
        """Return the slow-down of every node at every time."""
