"""Series A of the predictor comparison: synthetic, periodic and fluctuating."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from toolkit.acoustic.water.noise import wenz


class ModelA(NamedTuple):
    """What series A is made of: at each cell all but the weather and the noise of measurement, and how these two behave."""

    breeze_m_s: np.ndarray
    rest_db: np.ndarray
    rho: float
    deviation: float = 0.8
    """Of the weather in m/s."""
    noise_db: float = 0.3

    @property
    def step(self) -> float:
        return self.deviation * float(np.sqrt(1 - self.rho**2))

    def snr_db(self, index: int | slice, weather: np.ndarray) -> np.ndarray:
        """SNR without the noise of measurement, for weather (n,) in m/s at cell *index*, or at cells."""
        wind = np.maximum(0.0, self.breeze_m_s[index] + weather)
        return self.rest_db[index] - (wenz(25.0, wind, 0.5) - float(wenz(25.0, 5.0, 0.5)))


def a_model(cells: int) -> ModelA:
    """The breeze peaks at 15 h. The description leaves its phase open; with this one persistence errs within 5 % of the known figures."""
    t_h = np.arange(cells) * 0.5
    tide = sum(a * np.cos(2 * np.pi * t_h / p) for a, p in ((1.0, 12.4206), (0.35, 12.0), (0.25, 23.9345)))
    day = ((t_h % 24.0 > 7.0) & (t_h % 24.0 < 19.0)).astype(float)
    dip = 6.0 * np.abs(np.cos(2 * np.pi * t_h / 12.4206)) ** 3
    return ModelA(5.0 + 2.5 * np.sin(2 * np.pi * (t_h - 9.0) / 24.0), 38.0 - dip - 4.0 * day + 2.0 * tide, float(np.exp(-0.5 / 8.0)))


def series_a(seed: int, days: int = 45) -> np.ndarray:
    """Half-hourly SNR in dB: Wenz noise of a breezy wind with a memory, a tidal dip, boats by day, a tide, and 0.3 dB of noise."""
    rng = np.random.default_rng(seed)
    model = a_model(days * 48)
    weather = np.empty(days * 48)
    weather[0] = model.deviation * rng.standard_normal()
    for i in range(1, len(weather)):
        weather[i] = model.rho * weather[i - 1] + model.step * rng.standard_normal()
    return model.snr_db(slice(None), weather) + model.noise_db * rng.standard_normal(len(weather))
