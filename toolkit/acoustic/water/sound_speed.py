"""The speed of sound in sea water."""

from __future__ import annotations

from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@overload
def mackenzie(temperature_c: float, salinity_ppt: float, depth_m: float) -> float: ...
@overload
def mackenzie(temperature_c: ArrayLike, salinity_ppt: ArrayLike, depth_m: ArrayLike) -> Floats: ...
def mackenzie(temperature_c: ArrayLike, salinity_ppt: ArrayLike, depth_m: ArrayLike) -> float | Floats:
    """Return sound speed in m/s by Mackenzie's nine terms (a float for scalars; arrays broadcast).

    Source: Mackenzie (1981), J. Acoust. Soc. Am. 70(3); standard error 0.07 m/s for 2-30 °C, 25-40 ppt, 0-8000 m. Outside
    of these it still gives a number, with nothing to vouch for it.
    """
    t, s, d = (np.asarray(x, dtype=np.float64) for x in (temperature_c, salinity_ppt, depth_m))
    ds = s - 35
    speed = (
        1448.96
        + 4.591 * t - 5.304e-2 * t**2 + 2.374e-4 * t**3
        + 1.340 * ds
        + 1.630e-2 * d + 1.675e-7 * d**2
        - 1.025e-2 * t * ds
        - 7.139e-13 * t * d**3
    )
    return speed[()]
