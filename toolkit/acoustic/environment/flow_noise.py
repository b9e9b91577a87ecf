"""Noise of the tidal stream at the hydrophone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import final

import numpy as np
from pydantic import Field

from toolkit.acoustic.environment import Floats, NoiseSource, Span, Weather


@final
class FlowNoise(NoiseSource):
    """N = level + 10 exponent log10(|u| / u_reference): turbulence around the hydrophone, at every turn of the tide anew.

    u is the tidal current as a share of its largest value, so a semidiurnal tide gives a line at 6.2 h. The level is an assumption;
    powers of 4 to 6 are found for pressure fluctuations in a flow.
    """

    level_db: float = Field(38.0, ge=-50, le=150, description="level in dB re 1 uPa^2/Hz at the reference current")
    reference: float = Field(1.0, gt=0, le=1, description="share of the largest current at which the level holds")
    exponent: float = Field(5.0, ge=0, le=8, description="power of the current")
    floor: float = Field(0.02, gt=0, le=1, description="least share of the current that is reckoned with")

    def init(self, span: Span, weather: Weather, frequency_hz: float, rng: np.random.Generator) -> Callable[[float, Floats], Floats]:
        def level_db(t_s: float, positions_m: Floats) -> Floats:
            share = max(abs(float(weather.tide.current(t_s))), self.floor)
            return np.full(len(positions_m), self.level_db + 10.0 * self.exponent * math.log10(share / self.reference))

        return level_db
