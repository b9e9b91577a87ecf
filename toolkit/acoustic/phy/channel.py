"""The channel: levels, delays and noise between all nodes, one matrix per position epoch; within an epoch delays grow evenly.

It depends on seed and time alone, never on what is sent: two protocols under one seed meet the same sea. `fingerprint` proves it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from toolkit.acoustic.phy.modem import Modem

Floats = NDArray[np.float64]


class Water(Protocol):
    """What the channel needs of the sea (see `toolkit.acoustic.water.sea.SeaState`)."""

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
        delay_s: (n, n) propagation delay at `t_s`.
        drift: (n, n) its growth per second until the next epoch, so that no frame overtakes another; None where nobody moves.
        later_m: (n, 3) where everybody is then.
        step_m: how far anybody moves until then.
        power: (n, n) received intensity in uPa^2 in the modem's band, without fast fading; 0 on the diagonal.
        noise: (n,) noise intensity in uPa^2 in the modem's band at each receiver.
        snr_db: (n, n) mean SNR in the modem's band (-inf on the diagonal).
    """

    _region: tuple[Floats, Floats, Floats] | None = None

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
        self._ahead: tuple[float, Floats, Floats] = (np.nan, np.zeros((0, 3)), np.zeros((0, 0)))

    @property
    def sound_speed_m_s(self) -> float:
        """The speed that `delay_s` follows from."""
        return self._water.sound_speed_m_s

    @property
    def region_m(self) -> tuple[Floats, Floats]:
        """Lowest and highest x, y and depth of all nodes and sinks."""
        if self._region is None or self._region[0] is not self.position_m:
            self._region = (self.position_m, self.position_m.min(axis=0), self.position_m.max(axis=0))
        return self._region[1:]

    def mean_snr_db(self, sender: int, receiver: int) -> float:
        """The mean SNR of one link in the modem's band; minus infinity where nothing arrives."""
        return float(self.snr_db[sender, receiver])

    def heard_from(self, level_db: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return senders and receivers of all links whose mean SNR is at least *level_db*."""
        senders, receivers = np.nonzero(self.snr_db >= level_db)
        return senders, receivers

    def advance(self, t_s: float, until_s: float | None = None) -> None:
        """Move nodes, weather and shadowing to time *t_s*; up to *until_s* delays change evenly, without it they stand still."""
        dt_s = t_s - self.t_s if np.isfinite(self.t_s) else 0.0
        self.t_s = t_s
        self.position_m, distance_m = self._places(t_s)
        self.depth_m: list[float] = self.position_m[:, 2].tolist()
        speed_m_s = self._water.sound_speed_m_s
        self.delay_s = distance_m / speed_m_s
        self.drift: Floats | None = None
        self.step_m = 0.0
        self.later_m = self.position_m
        if until_s is not None and until_s > t_s:
            self.later_m, later_distance_m = self._places(until_s)
            self.step_m = float(np.sqrt(((self.later_m - self.position_m) ** 2).sum(axis=1)).max())
            if self.step_m > 0.0:
                self.drift = (later_distance_m - distance_m) / (speed_m_s * (until_s - t_s))
            self._ahead = (until_s, self.later_m, later_distance_m)
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

    def _places(self, t_s: float) -> tuple[Floats, Floats]:
        """Where everybody is at *t_s* (n, 3), and all distances (n, n) in m."""
        if self._ahead[0] == t_s:
            return self._ahead[1], self._ahead[2]
        position_m = self._move(t_s)
        gap_m = position_m[:, None, :] - position_m[None, :, :]
        return position_m, np.sqrt(np.einsum("ijk,ijk->ij", gap_m, gap_m))
