"""Noise that comes back every day: small craft, snapping shrimp, harbour works."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta, timezone
from typing import Annotated, Self, final

import numpy as np
from pydantic import Field, model_validator

from toolkit.acoustic.environment import Floats, NoiseSource, Span, Weather

SILENCE_DB = -300.0


@final
class DailyNoise(NoiseSource):
    """A source with any daily shape: a pulse between two `hours`, or a `profile_db` of equal slots, in local time.

    Without a place it is the same everywhere; with `position_m` its level falls with the horizontal distance beyond `reference_m`.
    Each day may begin and end a little earlier or later (`jitter_min`), drawn per calendar day.
    """

    hours: tuple[float, float] | None = Field(None, description="begin and end of the pulse, local hour; may pass midnight")
    level_db: float = Field(44.0, ge=-50, le=150, description="level of the pulse in dB re 1 uPa^2/Hz")
    profile_db: list[Annotated[float, Field(ge=SILENCE_DB, le=150)]] | None = Field(
        None, min_length=2, description="levels of equal slots from local midnight on; -300 is silence"
    )
    utc_offset_hours: float = Field(0.0, ge=-14, le=14, description="local time minus UTC")
    jitter_min: float = Field(0.0, ge=0, le=180, description="standard deviation of begin and end from day to day, in minutes")
    position_m: tuple[float, float] | None = Field(None, description="x, y of the source")
    reference_m: float = Field(200.0, gt=0, description="distance at which the level holds")
    spreading: float = Field(1.5, ge=0, le=2, description="spreading factor beyond the reference distance")

    @model_validator(mode="after")
    def _has_one_shape(self) -> Self:
        if (self.hours is None) == (self.profile_db is None):
            raise ValueError("give either 'hours' (a pulse) or 'profile_db' (levels over the day)")
        if self.hours is not None and not all(0 <= hour <= 24 for hour in self.hours):
            raise ValueError(f"hours: {self.hours} must lie between 0 and 24")
        if self.hours is not None and self.hours[0] == self.hours[1]:
            raise ValueError(f"hours: {self.hours} begin and end together; give [0, 24] for the whole day")
        return self

    def init(self, span: Span, weather: Weather, frequency_hz: float, rng: np.random.Generator) -> Callable[[float, Floats], Floats]:
        zone = timezone(timedelta(hours=self.utc_offset_hours))
        origin = span.origin.astimezone(zone)
        midnight_s = origin.hour * 3600 + origin.minute * 60 + origin.second
        first_day = int((span.first_s + midnight_s) // 86_400)
        days = int((span.last_s + midnight_s) // 86_400) - first_day + 1
        shifts_s = 60.0 * self.jitter_min * rng.standard_normal((days, 2))

        def level_db(t_s: float, positions_m: Floats) -> Floats:
            local_s = t_s + midnight_s
            day = min(max(int(local_s // 86_400) - first_day, 0), days - 1)
            level = self._level(local_s % 86_400, shifts_s[day])
            if self.position_m is None or level == SILENCE_DB:
                return np.full(len(positions_m), level)
            gap_m = positions_m[:, :2] - np.asarray(self.position_m)
            distance_m = np.maximum(np.hypot(gap_m[:, 0], gap_m[:, 1]), self.reference_m)
            return np.asarray(level - 10.0 * self.spreading * np.log10(distance_m / self.reference_m))

        return level_db

    def _level(self, of_day_s: float, shift_s: Floats) -> float:
        if self.profile_db is not None:
            slot = int((of_day_s - shift_s[0]) % 86_400 / 86_400 * len(self.profile_db))
            return self.profile_db[min(slot, len(self.profile_db) - 1)]  # -1e-12 % 86400 is 86400
        assert self.hours is not None
        begin_s, end_s = 3600.0 * self.hours[0] + shift_s[0], 3600.0 * self.hours[1] + shift_s[1]
        inside = begin_s <= of_day_s < end_s if self.hours[0] <= self.hours[1] else of_day_s >= begin_s or of_day_s < end_s
        return self.level_db if inside else SILENCE_DB
