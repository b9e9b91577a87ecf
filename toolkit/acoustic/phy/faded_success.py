"""Success of a frame on a fading channel, of which only the mean SNR is known."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import i0e

from toolkit.acoustic.phy.fading import FastFading
from toolkit.acoustic.phy.modulation import SuccessTable

Floats = NDArray[np.float64]

DEEPEST_DB, HIGHEST_DB = -60.0, 16.0
"""Power gains that are reckoned with: under Rayleigh fading one in a million is deeper, and none to speak of is higher."""
LEAST = 1e-300


@lru_cache(maxsize=256)
def faded(table: SuccessTable, fading: FastFading, bits: int) -> SuccessTable:
    """Return the table of frames of *bits* alone, averaged over the fast fading around a mean Eb/N0; *table* itself without fading.

    1 - PER(x) = sum over gains of their weight times exp(-bits r(x + gain)), on the grid of *table*; what is kept is the rate per bit that
    gives this success, so it is read as any other table. Within 0.001 of the integral over the law of the gain.
    """
    if fading.kind == "none":
        return table
    count = len(table.log_rate)
    below, above = (round(reach_db / table.step_db) for reach_db in (-DEEPEST_DB, HIGHEST_DB))
    gain_db: Floats = np.asarray(table.step_db * np.arange(-below, above + 1), dtype=np.float64)
    weight = gain_density(fading, gain_db)
    places = np.clip(np.arange(-below, count + above), 0, count - 1)
    success = np.exp(-bits * np.exp(table.log_rate[places]))
    mean = np.convolve(success, (weight / weight.sum())[::-1], mode="valid")
    loss = -np.log(np.clip(mean, LEAST, 1.0 - 1e-16))
    return SuccessTable(table.low_db, table.step_db, np.log(loss / bits))


def gain_density(fading: FastFading, gain_db: Floats) -> Floats:
    """Density of the power gain in dB, up to a factor: f(g) g with f(g) = (1 + K) exp(-K - (1 + K) g) I0(2 sqrt(K (1 + K) g))."""
    k = 10.0 ** (fading.k_db / 10.0) if fading.kind == "rician" else 0.0
    gain = 10.0 ** (gain_db / 10.0)
    steady = 2.0 * np.sqrt(k * (1.0 + k) * gain)
    density: Floats = gain * np.exp(steady - k - (1.0 + k) * gain) * i0e(steady)
    return density
