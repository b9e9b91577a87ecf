"""Wind that never changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from toolkit.acoustic.environment import Floats, Span, Wind


@final
class SteadyWind(Wind):
    """Constant wind, for static channels and closed-form checks."""

    speed_m_s: float = Field(5.0, ge=0, le=80, description="wind speed")

    def init(self, span: Span, rng: np.random.Generator) -> Callable[[ArrayLike], Floats]:
        return lambda t_s: np.full(np.shape(t_s), self.speed_m_s)
