"""Noise of the open sea: turbulence, distant shipping, wind on the surface, molecules."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np
from pydantic import Field

from toolkit.acoustic.environment import Floats, NoiseSource, Span, Weather
from toolkit.acoustic.noise import wenz


@final
class SurfaceNoise(NoiseSource):
    """Wenz noise at the wind of the weather, the same at all depths. Above 10 kHz shipping hardly matters."""

    shipping: float = Field(0.5, ge=0, le=1, description="shipping activity")

    def init(self, span: Span, weather: Weather, frequency_hz: float, rng: np.random.Generator) -> Callable[[float, Floats], Floats]:
        def level_db(t_s: float, positions_m: Floats) -> Floats:
            return np.full(len(positions_m), float(wenz(frequency_hz / 1e3, float(weather.wind_m_s(t_s)), self.shipping)))

        return level_db
