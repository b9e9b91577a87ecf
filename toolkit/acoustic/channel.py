"""The channel: levels, delays and noise between all nodes, one matrix per position epoch.

It depends on seed and time alone, never on what is sent: two protocols under one seed meet the same sea. `fingerprint` proves it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from toolkit.acoustic.modem import Modem

Floats = NDArray[np.float64]


class Water(Protocol):
    """What the channel needs of the sea (see `toolkit.acoustic.sea.SeaState`)."""

    @property
    def sound_speed_m_s(self) -> float: ...

    def loss_db(self, distance_m: Floats, t_s: float) -> Floats: ...

    def noise_psd_db(self, t_s: float, positions_m: Floats) -> Floats: ...


class ShadowingState(Protocol):
    """Slow fading of all pairs, moved on by a time step."""

    def step(self, dt_s: float) -> Floats: ...


class MeasuredLinks(Protocol):
    """Links whose SNR was measured (see `toolkit.acoustic.channel_record`)."""

    def lay_over(self, snr_db: Floats, t_s: float) -> None: ...


class Channel:
    """Matrices indexed [transmitter, receiver], valid from `t_s` until the next call of `advance`.

    Attributes:
        position_m: (n, 3) x, y, depth.
        depth_m: the depths once more, as Python's own numbers.
        delay_s: (n, n) propagation delay.
        power: (n, n) received intensity in uPa^2 in the modem's band, without fast fading; 0 on the diagonal.
        noise: (n,) noise intensity in uPa^2 in the modem's band at each receiver.
        snr_db: (n, n) mean SNR in the modem's band (-inf on the diagonal).
    """

    def __init__(
        self, water: Water, modem: Modem, move: Callable[[float], Floats], shadowing: ShadowingState, measured: MeasuredLinks | None = None
    ) -> None:
        self._measured = measured
        self._water = water
        self._modem = modem
        self._move = move
        self._shadowing = shadowing
        self.t_s = -np.inf
        self.fingerprint = 0

    @property
    def sound_speed_m_s(self) -> float:
        """The speed that `delay_s` follows from."""
        return self._water.sound_speed_m_s

    def advance(self, t_s: float) -> None:
        """Move nodes, weather and shadowing to time *t_s*."""
        dt_s = t_s - self.t_s if np.isfinite(self.t_s) else 0.0
        self.t_s = t_s
        self.position_m = self._move(t_s)
        self.depth_m: list[float] = self.position_m[:, 2].tolist()
        gap_m = self.position_m[:, None, :] - self.position_m[None, :, :]
        distance_m = np.sqrt(np.einsum("ijk,ijk->ij", gap_m, gap_m))
        self.delay_s = distance_m / self._water.sound_speed_m_s
        level_db = self._modem.source_level_db - self._water.loss_db(distance_m, t_s) - self._shadowing.step(dt_s)
        np.fill_diagonal(level_db, -np.inf)
        noise_db = self._modem.noise_level_db(self._water.noise_psd_db(t_s, self.position_m))
        self.snr_db = level_db - noise_db[None, :]
        if self._measured is not None:
            self._measured.lay_over(self.snr_db, t_s)
            level_db = self.snr_db + noise_db[None, :]
        self.power = 10.0 ** (level_db / 10.0)
        self.noise = 10.0 ** (noise_db / 10.0)
        self.noise_db = noise_db
        self.fingerprint = zlib.crc32(self.snr_db.tobytes(), self.fingerprint)
