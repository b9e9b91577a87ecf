"""Mine: a mobility to begin with. Nodes go round in circles.

    toolkit check ./mine.py
    toolkit simulate SCENARIO.yaml --set fabric.mobility=mine        with this file beside the scenario
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import final

import numpy as np
from pydantic import Field

from toolkit.acoustic.environment import Floats, Span, TideState
from toolkit.acoustic.mobility import Mobility


@final
class Mine(Mobility):
    """Every node goes round its home in a circle, at its depth; where each begins is drawn.

    Settings are fields like these, with bounds and a description. Places are a function of the time alone.
    """

    radius_m: float = Field(50.0, ge=0, le=10_000, description="of the circle")
    speed_m_s: float = Field(0.5, gt=0, le=5, description="along the circle")

    def init(self, home_m: Floats, span: Span, tide: TideState, rng: np.random.Generator) -> Callable[[float], Floats]:
        """Return places (n, 3) as x, y, depth in m as a function of the time in s; *home_m* (n, 3) is where the nodes were deployed."""
        begin = rng.uniform(0, 2 * math.pi, len(home_m))

        def places(t_s: float) -> Floats:
            angle = begin + self.speed_m_s * t_s / max(self.radius_m, 1e-9) if self.radius_m else begin
            moved = home_m.copy()
            moved[:, 0] += self.radius_m * np.cos(angle)
            moved[:, 1] += self.radius_m * np.sin(angle)
            return moved

        return places
