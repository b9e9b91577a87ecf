"""Mobility: where the nodes are at any time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from toolkit.acoustic.environment import Floats, Span, TideState
from toolkit.core.part import Part


class Mobility(Part):
    """Moves all nodes of one kind. Depth grows downwards and stays within the water."""

    family: ClassVar[str] = "mobility"

    @abstractmethod
    def init(self, home_m: Floats, span: Span, tide: TideState, rng: np.random.Generator) -> Callable[[float], Floats]:
        """Return positions (n, 3) as x, y, depth in m as a function of time in s, a pure function of time for one run.

        *home_m* (n, 3) is where the nodes were deployed.
        """
