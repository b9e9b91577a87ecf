"""Absorption of sound in sea water, in dB per km, by three formulas.

`thorp` needs the frequency alone and is what most network simulators use. `francois_garrison` and `ainslie_mccolm` also know
temperature, salinity, depth and acidity; between 10 and 50 kHz the two agree within a few percent, and Thorp (4 °C, near the
surface) lies 15-25 % above them at 10 °C.

All take scalars or arrays that broadcast, and give a float for scalars. Frequencies are in kHz and above zero.
"""

from __future__ import annotations

from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@overload
def thorp(f_khz: float) -> float: ...
@overload
def thorp(f_khz: ArrayLike) -> Floats: ...
def thorp(f_khz: ArrayLike) -> float | Floats:
    """Return absorption in dB/km by Thorp's formula.

    Source: Thorp (1967) in the form per km of ns-3 (`UanPropModelThorp`), with its own branch below 0.4 kHz.
    """
    f2 = np.square(np.asarray(f_khz, dtype=np.float64))
    relaxation = 0.11 * f2 / (1 + f2)  # boric acid
    high = relaxation + 44 * f2 / (4100 + f2) + 2.75e-4 * f2 + 0.003
    low = 0.002 + relaxation + 0.011 * f2
    absorption: Floats = np.where(np.asarray(f_khz) >= 0.4, high, low)
    return absorption[()]


@overload
def francois_garrison(f_khz: float, temperature_c: float, salinity_ppt: float, depth_m: float, ph: float) -> float: ...
@overload
def francois_garrison(
    f_khz: ArrayLike, temperature_c: ArrayLike, salinity_ppt: ArrayLike, depth_m: ArrayLike, ph: ArrayLike
) -> Floats: ...
def francois_garrison(
    f_khz: ArrayLike, temperature_c: ArrayLike, salinity_ppt: ArrayLike, depth_m: ArrayLike, ph: ArrayLike
) -> float | Floats:
    """Return absorption in dB/km as the sum of boric acid, magnesium sulphate and pure water.

    Source: Francois and Garrison (1982), J. Acoust. Soc. Am. 72, parts I and II; stated for 0.2-1000 kHz. *salinity_ppt* must
    be above zero, because the boric relaxation frequency is proportional to its root.
    """
    f, t, s, d, ph = (np.asarray(x, dtype=np.float64) for x in (f_khz, temperature_c, salinity_ppt, depth_m, ph))
    f2 = f**2
    c = 1412 + 3.21 * t + 1.19 * s + 0.0167 * d  # the sound speed of this formula, m/s

    a1 = 8.86 / c * 10 ** (0.78 * ph - 5)
    f1 = 2.8 * np.sqrt(s / 35) * 10 ** (4 - 1245 / (t + 273))
    boric = a1 * f1 * f2 / (f1**2 + f2)

    a2 = 21.44 * s / c * (1 + 0.025 * t)
    p2 = 1 - 1.37e-4 * d + 6.2e-9 * d**2
    f2_relaxation = 8.17 * 10 ** (8 - 1990 / (t + 273)) / (1 + 0.0018 * (s - 35))
    magnesium = a2 * p2 * f2_relaxation * f2 / (f2_relaxation**2 + f2)

    cold = 4.937e-4 - 2.59e-5 * t + 9.11e-7 * t**2 - 1.5e-8 * t**3
    warm = 3.964e-4 - 1.146e-5 * t + 1.45e-7 * t**2 - 6.5e-10 * t**3
    a3 = np.where(t <= 20, cold, warm)
    p3 = 1 - 3.83e-5 * d + 4.9e-10 * d**2
    total: Floats = boric + magnesium + a3 * p3 * f2
    return total[()]


@overload
def ainslie_mccolm(f_khz: float, temperature_c: float, salinity_ppt: float, depth_m: float, ph: float) -> float: ...
@overload
def ainslie_mccolm(
    f_khz: ArrayLike, temperature_c: ArrayLike, salinity_ppt: ArrayLike, depth_m: ArrayLike, ph: ArrayLike
) -> Floats: ...
def ainslie_mccolm(
    f_khz: ArrayLike, temperature_c: ArrayLike, salinity_ppt: ArrayLike, depth_m: ArrayLike, ph: ArrayLike
) -> float | Floats:
    """Return absorption in dB/km by the simplified formula that keeps the three terms of Francois and Garrison.

    Source: Ainslie and McColm (1998), J. Acoust. Soc. Am. 103(3); depth enters in km there, here in m as everywhere.
    """
    f, t, s, d, ph = (np.asarray(x, dtype=np.float64) for x in (f_khz, temperature_c, salinity_ppt, depth_m, ph))
    f2 = f**2
    z_km = d / 1000
    f1 = 0.78 * np.sqrt(s / 35) * np.exp(t / 26)
    f2_relaxation = 42 * np.exp(t / 17)
    boric = 0.106 * f1 * f2 / (f1**2 + f2) * np.exp((ph - 8) / 0.56)
    magnesium = 0.52 * (1 + t / 43) * (s / 35) * f2_relaxation * f2 / (f2_relaxation**2 + f2) * np.exp(-z_km / 6)
    water = 4.9e-4 * f2 * np.exp(-(t / 27 + z_km / 17))
    total: Floats = boric + magnesium + water
    return total[()]
