"""Nodes that stay where they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np

from toolkit.acoustic.environment import Floats, Span, TideState
from toolkit.acoustic.mobility import Mobility


@final
class Static(Mobility):
    """No motion."""

    def init(self, home_m: Floats, span: Span, tide: TideState, rng: np.random.Generator) -> Callable[[float], Floats]:
        return lambda t_s: home_m
