"""Noise of the open sea: turbulence, distant shipping, wind on the surface, molecules."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np
from pydantic import Field

from toolkit.acoustic.environment import Floats, NoiseSource, Span, Weather
from toolkit.acoustic.water.noise import add_levels_db, shipping_db, thermal_db, turbulence_db, wind_db


@final
class SurfaceNoise(NoiseSource):
    """Wenz noise at the wind of the weather, the same at all depths. Above 10 kHz shipping hardly matters."""

    shipping: float = Field(0.5, ge=0, le=1, description="shipping activity")

    def init(self, span: Span, weather: Weather, frequency_hz: float, rng: np.random.Generator) -> Callable[[float, Floats], Floats]:
        f_khz = frequency_hz / 1e3
        turbulence, ships, molecules = turbulence_db(f_khz), shipping_db(f_khz, self.shipping), thermal_db(f_khz)

        def level_db(t_s: float, positions_m: Floats) -> Floats:
            # `wenz` with all but the wind worked out beforehand; a test holds the two together.
            terms = np.array([turbulence, ships, wind_db(f_khz, float(weather.wind_m_s(t_s))), molecules])
            return np.full(len(positions_m), float(add_levels_db(terms)))

        return level_db
