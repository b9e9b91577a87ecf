"""The sea of one place and time: what it does to sound, and how loud it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, field_validator

from toolkit.acoustic.absorption import ainslie_mccolm, francois_garrison, thorp
from toolkit.acoustic.environment import Floats, NoiseSource, Span, Tide, TideState, Weather, Wind
from toolkit.acoustic.propagation import transmission_loss_db
from toolkit.acoustic.sound_speed import mackenzie
from toolkit.core.part import Spec, default_part
from toolkit.core.streams import Streams

FIRST_YEAR, LAST_YEAR = 1700, 2500
"""Years that calendars and nodal cycles of the tide are reckoned for."""


class Sea(Spec):
    """Water, weather and noise. Every run of a seed sees the same one, whatever is compared in it."""

    start: datetime = Field(datetime(2000, 7, 1, tzinfo=UTC), description="UTC instant at which the measured part begins")
    random_start_days: int = Field(0, ge=0, le=366, description="the start is put off by up to so many whole days, drawn per seed")
    temperature_c: float = Field(10.0, ge=-2, le=35, description="water temperature")
    salinity_ppt: float = Field(35.0, ge=0, le=45, description="salinity")
    ph: float = Field(8.0, ge=7, le=8.5, description="acidity, for the boric acid term of absorption")
    mean_depth_m: float = Field(100.0, ge=0, le=8000, description="depth at which absorption and sound speed are reckoned")
    absorption: Literal["thorp", "francois_garrison", "ainslie_mccolm"] = "thorp"
    spreading: float = Field(1.5, ge=1, le=2, description="1 cylindrical, 1.5 practical, 2 spherical")
    tide_loss_db_per_m: float = Field(0.0, ge=-5, le=5, description="change of transmission loss per metre of tide (multipath)")
    wind: Wind = default_part("steady_wind")
    tide: Tide = default_part("still_tide")
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

    def check(self, first_s: float, last_s: float, carrier_hz: float) -> None:
        """Read every input file, for every start that a seed may draw.

        Raises:
            DataError: a file is malformed or does not cover the run.
        """
        for start in self.starts():
            self._at(start, first_s, last_s, carrier_hz, Streams(0))

    def starts(self) -> list[datetime]:
        """Return the instants at which the measured part may begin, one of which a seed draws."""
        return [self.start + timedelta(days=days) for days in range(self.random_start_days + 1)]

    def init(self, first_s: float, last_s: float, carrier_hz: float, streams: Streams) -> SeaState:
        """Return the sea of one run, good for times from *first_s* to *last_s*."""
        days = int(streams.rng("weather", "start").integers(0, self.random_start_days + 1))
        return self._at(self.start + timedelta(days=days), first_s, last_s, carrier_hz, streams)

    def _at(self, origin: datetime, first_s: float, last_s: float, carrier_hz: float, streams: Streams) -> SeaState:
        span = Span(origin, first_s, last_s)
        weather = Weather(
            self.wind.init(span, streams.rng("weather", "wind")), self.tide.init(span, streams.rng("weather", "tide"))
        )
        sources = [
            source.init(span, weather, carrier_hz, streams.rng("weather", "noise", index)) for index, source in enumerate(self.noise)
        ]
        return SeaState(
            origin, sound_speed_m_s=float(mackenzie(self.temperature_c, self.salinity_ppt, self.mean_depth_m)), spreading=self.spreading,
            absorption_db_per_km=self.absorption_db_per_km(carrier_hz), tide_loss_db_per_m=self.tide_loss_db_per_m,
            weather=weather, sources=sources,
        )


@dataclass(frozen=True)
class SeaState:
    """The sea of one run as functions of time (s from the start) and place."""

    origin: datetime
    sound_speed_m_s: float
    spreading: float
    absorption_db_per_km: float
    tide_loss_db_per_m: float
    weather: Weather
    sources: list[Callable[[float, Floats], Floats]]

    @property
    def tide(self) -> TideState:
        return self.weather.tide

    def wind_m_s(self, t_s: ArrayLike) -> Floats:
        """Wind speed at 10 m."""
        return self.weather.wind_m_s(t_s)

    def loss_db(self, distance_m: Floats, t_s: float) -> Floats:
        """Transmission loss over a distance; the tide shifts it, as it changes the multipath between surface and bottom."""
        loss = np.asarray(transmission_loss_db(distance_m, self.spreading, self.absorption_db_per_km))
        if self.tide_loss_db_per_m:
            loss = loss + self.tide_loss_db_per_m * float(self.tide.height_m(t_s))
        return loss

    def noise_psd_db(self, t_s: float, positions_m: Floats) -> Floats:
        """Noise density in dB re 1 uPa^2/Hz at positions (n, 3); the powers of all sources add."""
        total = np.zeros(len(positions_m))
        for source in self.sources:
            total += 10.0 ** (source(t_s, positions_m) / 10.0)
        return np.asarray(10.0 * np.log10(total))
