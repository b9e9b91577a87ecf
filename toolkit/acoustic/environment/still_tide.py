"""Water that neither rises nor runs."""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import ArrayLike

from toolkit.acoustic.environment import Floats, Span, Tide


class StillWater:
    """The tide of a place without one."""

    def height_m(self, t_s: ArrayLike) -> Floats:
        return np.zeros(np.shape(t_s))

    def current(self, t_s: ArrayLike) -> Floats:
        return np.zeros(np.shape(t_s))


@final
class StillTide(Tide):
    """No tide."""

    def init(self, span: Span, rng: np.random.Generator) -> StillWater:
        return StillWater()
