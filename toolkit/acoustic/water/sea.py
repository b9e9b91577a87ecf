"""The sea of one place and time: what it does to sound, and how loud it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, field_validator

from toolkit.acoustic.environment import Floats, NoiseSource, Span, Tide, TideState, Weather, Wind
from toolkit.acoustic.water.absorption import ainslie_mccolm, francois_garrison, thorp
from toolkit.acoustic.water.propagation import transmission_loss_db
from toolkit.acoustic.water.sound_speed import mackenzie
from toolkit.core.part import Spec, default_part
from toolkit.core.streams import Streams

FIRST_YEAR, LAST_YEAR = 1700, 2500
"""Years that calendars and nodal cycles of the tide are reckoned for."""
TONES = 16
"""Frequencies that stand for a band which is integrated."""


class Sea(Spec):
    """Water, weather and noise. Every run of a seed sees the same one, whatever is compared in it.

    Sound travels in straight lines at the one speed that the water has at `mean_depth_m`. With `band: flat` loss and noise are those at
    the carrier, which is up to 2.3 dB off for a band of half the carrier at 2 km; with `integrated` the signal is spread evenly over the
    modem's band, and powers of signal and noise are added up over it.
    """

    start: datetime = Field(datetime(2000, 7, 1, tzinfo=UTC), description="UTC instant at which the measured part begins")
    random_start_days: int = Field(0, ge=0, le=366, description="the start is put off by up to so many whole days, drawn per seed")
    temperature_c: float = Field(10.0, ge=-2, le=35, description="water temperature")
    salinity_ppt: float = Field(35.0, ge=0, le=45, description="salinity")
    ph: float = Field(8.0, ge=7, le=8.5, description="acidity, for the boric acid term of absorption")
    mean_depth_m: float = Field(100.0, ge=0, le=8000, description="depth at which absorption and sound speed are reckoned: one for all")
    absorption: Literal["thorp", "francois_garrison", "ainslie_mccolm"] = Field("thorp", description="formula of the loss per kilometre")
    band: Literal["flat", "integrated"] = Field("flat", description="loss and noise at the carrier, or over the modem's whole band")
    spreading: float = Field(1.5, ge=1, le=2, description="1 cylindrical, 1.5 practical, 2 spherical")
    tide_loss_db_per_m: float = Field(0.0, ge=-5, le=5, description="change of transmission loss per metre of tide (multipath)")
    wind: Wind = default_part("steady_wind", "wind speed, which drives the surface noise")
    tide: Tide = default_part("still_tide", "height and current of the tide")
    noise: list[NoiseSource] = Field(default=["surface_noise"], min_length=1, description="sources, whose powers add")  # type: ignore[list-item]

    @field_validator("start")
    @classmethod
    def _utc(cls, start: datetime) -> datetime:
        if not FIRST_YEAR <= start.year <= LAST_YEAR:
            raise ValueError(f"must lie in the years {FIRST_YEAR} to {LAST_YEAR}")
        return start.replace(tzinfo=UTC) if start.tzinfo is None else start.astimezone(UTC)

    def absorption_db_per_km(self, carrier_hz: float) -> float:
        """Return the absorption at the carrier, by the chosen formula."""
        f_khz = carrier_hz / 1e3
        if self.absorption == "thorp":
            return float(thorp(f_khz))
        formula = francois_garrison if self.absorption == "francois_garrison" else ainslie_mccolm
        return float(formula(f_khz, self.temperature_c, self.salinity_ppt, self.mean_depth_m, self.ph))

    def check(self, first_s: float, last_s: float, carrier_hz: float, bandwidth_hz: float = 0.0) -> None:
        """Read every input file, for every start that a seed may draw.

        Raises:
            DataError: a file is malformed or does not cover the run.
        """
        for start in self.starts():
            self._at(Span(start, first_s, last_s), self._tones_hz(carrier_hz, bandwidth_hz), Streams(0))

    def starts(self) -> list[datetime]:
        """Return the instants at which the measured part may begin, one of which a seed draws."""
        return [self.start + timedelta(days=days) for days in range(self.random_start_days + 1)]

    def init(self, first_s: float, last_s: float, carrier_hz: float, streams: Streams, bandwidth_hz: float = 0.0) -> SeaState:
        """Return the sea of one run, good for times from *first_s* to *last_s*, as a modem of this band hears it."""
        days = int(streams.rng("weather", "start").integers(0, self.random_start_days + 1))
        span = Span(self.start + timedelta(days=days), first_s, last_s)
        return self._at(span, self._tones_hz(carrier_hz, bandwidth_hz), streams)

    def _tones_hz(self, carrier_hz: float, bandwidth_hz: float) -> list[tuple[float, float]]:
        """Shares of the band and the frequencies that stand for them (Gauss-Legendre); the carrier alone where the band counts as flat."""
        if self.band == "flat" or bandwidth_hz <= 0:
            return [(1.0, carrier_hz)]
        places, weights = np.polynomial.legendre.leggauss(TONES)
        return list(zip((0.5 * weights).tolist(), (carrier_hz + 0.5 * bandwidth_hz * places).tolist(), strict=True))

    def _at(self, span: Span, tones_hz: list[tuple[float, float]], streams: Streams) -> SeaState:
        weather = Weather(
            self.wind.init(span, streams.rng("weather", "wind")), self.tide.init(span, streams.rng("weather", "tide"))
        )
        tones = [
            Tone(share, self.absorption_db_per_km(frequency_hz), [
                source.init(span, weather, frequency_hz, streams.shared("weather", "noise", index))
                for index, source in enumerate(self.noise)
            ])
            for share, frequency_hz in tones_hz
        ]
        return SeaState(
            span.origin, sound_speed_m_s=float(mackenzie(self.temperature_c, self.salinity_ppt, self.mean_depth_m)),
            spreading=self.spreading, tide_loss_db_per_m=self.tide_loss_db_per_m, weather=weather, tones=tones,
        )


@dataclass(frozen=True)
class Tone:
    """One frequency, which stands for a share of the band: its absorption and its noise."""

    share: float
    absorption_db_per_km: float
    sources: list[Callable[[float, Floats], Floats]]

    def noise_power(self, t_s: float, positions_m: Floats) -> Floats:
        """Noise density at positions (n, 3) in uPa^2/Hz; the powers of all sources add."""
        total = np.zeros(len(positions_m))
        for source in self.sources:
            total += 10.0 ** (source(t_s, positions_m) / 10.0)
        return total


@dataclass(frozen=True)
class SeaState:
    """The sea of one run as functions of time (s from the start) and place."""

    origin: datetime
    sound_speed_m_s: float
    spreading: float
    tide_loss_db_per_m: float
    weather: Weather
    tones: list[Tone]

    @property
    def tide(self) -> TideState:
        return self.weather.tide

    def wind_m_s(self, t_s: ArrayLike) -> Floats:
        """Wind speed at 10 m."""
        return self.weather.wind_m_s(t_s)

    def loss_db(self, distance_m: Floats, t_s: float) -> Floats:
        """Transmission loss over a distance; the tide shifts it, as it changes the multipath between surface and bottom."""
        if len(self.tones) == 1:
            loss = np.asarray(transmission_loss_db(distance_m, self.spreading, self.tones[0].absorption_db_per_km))
        else:
            km = np.maximum(distance_m, 1.0) / 1000.0
            least = min(tone.absorption_db_per_km for tone in self.tones)  # relative to it, so that nothing vanishes far away
            carried = sum(tone.share * 10.0 ** ((least - tone.absorption_db_per_km) * km / 10.0) for tone in self.tones)
            loss = np.asarray(transmission_loss_db(distance_m, self.spreading, least)) - 10.0 * np.log10(carried)
        if self.tide_loss_db_per_m:
            loss = loss + self.tide_loss_db_per_m * float(self.tide.height_m(t_s))
        return loss

    def noise_psd_db(self, t_s: float, positions_m: Floats) -> Floats:
        """Noise density in dB re 1 uPa^2/Hz at positions (n, 3), the mean over the band; the powers of all sources add."""
        if len(self.tones) == 1:
            return np.asarray(10.0 * np.log10(self.tones[0].noise_power(t_s, positions_m)))
        return np.asarray(10.0 * np.log10(sum(tone.share * tone.noise_power(t_s, positions_m) for tone in self.tones)))
