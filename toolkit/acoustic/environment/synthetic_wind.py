"""Wind made of a daily breeze and weather with a memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from toolkit.acoustic.environment import Floats, Span, Wind

GRID_S = 600.0


@final
class SyntheticWind(Wind):
    """w(t) = max(0, mean + breeze sin(2 pi (t - t0) / 24 h) + Ornstein-Uhlenbeck weather).

    Hourly winds of buoys and coasts have autocorrelations of about 0.95, 0.8, 0.7, 0.45 and 0.25 at 1, 3, 6, 12 and 24 h, which a
    memory of 8 to 20 h gives; a daily line is only found near coasts.
    """

    mean_m_s: float = Field(6.0, ge=0, description="mean wind speed")
    breeze_m_s: float = Field(0.0, ge=0, description="amplitude of the daily breeze")
    breeze_peak_hour: float = Field(15.0, ge=0, lt=24, description="UTC hour at which the breeze is strongest")
    weather_m_s: float = Field(2.5, ge=0, description="standard deviation of the weather")
    memory_s: float = Field(43_200.0, gt=0, description="lag at which the weather's autocorrelation is 1/e")

    def init(self, span: Span, rng: np.random.Generator) -> Callable[[ArrayLike], Floats]:
        t_s = np.arange(span.first_s, span.last_s + 2 * GRID_S, GRID_S)
        rho = np.exp(-GRID_S / self.memory_s)
        shocks = rng.standard_normal(len(t_s)) * self.weather_m_s * np.sqrt(1 - rho**2)
        weather = np.empty(len(t_s))
        weather[0] = shocks[0] / np.sqrt(1 - rho**2)
        for i in range(1, len(t_s)):
            weather[i] = rho * weather[i - 1] + shocks[i]
        midnight_s = (span.origin.hour * 60 + span.origin.minute) * 60 + span.origin.second
        phase = 2 * np.pi * ((t_s + midnight_s) / 86_400 - self.breeze_peak_hour / 24)
        speed = np.maximum(0.0, self.mean_m_s + self.breeze_m_s * np.cos(phase) + weather)
        return lambda at_s: np.interp(np.asarray(at_s, dtype=np.float64), t_s, speed)
