"""Loss on the way and level at the source.

The link budget in the band of a modem is ``SNR = SL - TL - (NSD + 10 log10 B)``, with the source level SL and the loss TL from
here, the noise density NSD of `noise` and the bandwidth B of `modem`.
"""

from __future__ import annotations

from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

WATT_AT_1M_DB = 170.8
"""Level in dB re 1 µPa at 1 m of one acoustic watt sent evenly in all directions (water of 1500 m/s)."""


@overload
def spreading_loss_db(distance_m: float, k: float) -> float: ...
@overload
def spreading_loss_db(distance_m: ArrayLike, k: ArrayLike) -> Floats: ...
def spreading_loss_db(distance_m: ArrayLike, k: ArrayLike) -> float | Floats:
    """Return ``10 k log10(d / 1 m)``: k = 1 cylindrical, 1.5 practical, 2 spherical.

    Source levels are stated at 1 m, hence anything nearer counts as 1 m; a distance of zero has no infinite gain.
    """
    distance = np.maximum(np.asarray(distance_m, dtype=np.float64), 1.0)
    return 10 * np.asarray(k, dtype=np.float64) * np.log10(distance)


@overload
def transmission_loss_db(distance_m: float, k: float, absorption_db_per_km: float) -> float: ...
@overload
def transmission_loss_db(distance_m: ArrayLike, k: ArrayLike, absorption_db_per_km: ArrayLike) -> Floats: ...
def transmission_loss_db(distance_m: ArrayLike, k: ArrayLike, absorption_db_per_km: ArrayLike) -> float | Floats:
    """Return spreading loss (distance in metres) plus absorption (per km); see `spreading_loss_db` for *k*."""
    distance = np.maximum(np.asarray(distance_m, dtype=np.float64), 1.0)
    return spreading_loss_db(distance, k) + np.asarray(absorption_db_per_km, dtype=np.float64) * distance / 1000


@overload
def source_level_db(acoustic_w: float, directivity_db: float = 0.0) -> float: ...
@overload
def source_level_db(acoustic_w: ArrayLike, directivity_db: ArrayLike = 0.0) -> Floats: ...
def source_level_db(acoustic_w: ArrayLike, directivity_db: ArrayLike = 0.0) -> float | Floats:
    """Return the level in dB re 1 µPa at 1 m of *acoustic_w* > 0 watts of sound.

    These are watts in the water, not those drawn from the battery: taking the electrical power of a modem here makes every
    link of a usual simulation perfect.
    """
    power = np.asarray(acoustic_w, dtype=np.float64)
    return WATT_AT_1M_DB + 10 * np.log10(power) + np.asarray(directivity_db, dtype=np.float64)
