"""Ambient noise of the sea by the four terms of Wenz, in dB re 1 µPa²/Hz, and the addition of levels.

Source: Coates' fit to the curves of Wenz (1962), as in Stojanovic (2007) and in ns-3 (`UanNoiseModelDefault`). Frequencies are
in kHz and above zero, wind in m/s at 10 m height. Scalars or arrays that broadcast; a float for scalars.

At 25 kHz wind is nearly all of it. Shipping counts below a few kHz only (0.05 dB between none and full at 25 kHz), so a close
ship at modem frequencies has to be a noise source of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@overload
def turbulence_db(f_khz: float) -> float: ...
@overload
def turbulence_db(f_khz: ArrayLike) -> Floats: ...
def turbulence_db(f_khz: ArrayLike) -> float | Floats:
    """Turbulence, which matters below 10 Hz."""
    return 17 - 30 * np.log10(np.asarray(f_khz, dtype=np.float64))


@overload
def shipping_db(f_khz: float, shipping: float) -> float: ...
@overload
def shipping_db(f_khz: ArrayLike, shipping: ArrayLike) -> Floats: ...
def shipping_db(f_khz: ArrayLike, shipping: ArrayLike) -> float | Floats:
    """Distant shipping of activity *shipping* from 0 (none) to 1 (busy); 10-100 Hz."""
    f, s = np.asarray(f_khz, dtype=np.float64), np.asarray(shipping, dtype=np.float64)
    level: Floats = 40 + 20 * (s - 0.5) + 26 * np.log10(f) - 60 * np.log10(f + 0.03)
    return level


@overload
def wind_db(f_khz: float, wind_m_s: float) -> float: ...
@overload
def wind_db(f_khz: ArrayLike, wind_m_s: ArrayLike) -> Floats: ...
def wind_db(f_khz: ArrayLike, wind_m_s: ArrayLike) -> float | Floats:
    """Wind of *wind_m_s* (0 or more) and the waves it breaks; 0.1-100 kHz, where modems live."""
    f, w = np.asarray(f_khz, dtype=np.float64), np.asarray(wind_m_s, dtype=np.float64)
    level: Floats = 50 + 7.5 * np.sqrt(w) + 20 * np.log10(f) - 40 * np.log10(f + 0.4)
    return level


@overload
def thermal_db(f_khz: float) -> float: ...
@overload
def thermal_db(f_khz: ArrayLike) -> Floats: ...
def thermal_db(f_khz: ArrayLike) -> float | Floats:
    """Thermal noise, which takes over above 100 kHz."""
    return -15 + 20 * np.log10(np.asarray(f_khz, dtype=np.float64))


@overload
def wenz(f_khz: float, wind_m_s: float, shipping: float) -> float: ...
@overload
def wenz(f_khz: ArrayLike, wind_m_s: ArrayLike, shipping: ArrayLike) -> Floats: ...
def wenz(f_khz: ArrayLike, wind_m_s: ArrayLike, shipping: ArrayLike) -> float | Floats:
    """Return the power sum of the four terms in dB re 1 µPa²/Hz."""
    f, w, s = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (f_khz, wind_m_s, shipping)))
    return add_levels_db(np.stack([turbulence_db(f), shipping_db(f, s), wind_db(f, w), thermal_db(f)]), axis=0)[()]


def add_levels_db(levels_db: Floats | Sequence[float], axis: int = -1) -> Floats:
    """Add levels along *axis* as powers: two equal ones give 3.01 dB more.

    A level of minus infinity is no power at all; the sum of nothing else is minus infinity again. One axis of *levels_db* goes,
    and the sum of a plain list is a float.
    """
    levels = np.asarray(levels_db, dtype=np.float64)
    loudest = np.max(levels, axis=axis, keepdims=True)
    # Relative to the loudest, so that no level over- or underflows; silence has no loudest and is taken relative to 0 dB.
    loudest = np.where(np.isneginf(loudest), 0.0, loudest)
    power = np.sum(10 ** ((levels - loudest) / 10), axis=axis)
    with np.errstate(divide="ignore"):  # log10(0) is the minus infinity promised above
        total: Floats = np.squeeze(loudest, axis=axis) + 10 * np.log10(power)
    return total
