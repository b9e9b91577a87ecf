"""Further noise from a measured or planned record."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np
from pydantic import Field

from toolkit.acoustic.environment import Floats, NoiseSource, Span, Weather, record
from toolkit.core.inputs import InputFile


@final
class ExtraNoiseRecord(NoiseSource):
    """Noise density from a CSV file, the same at all places, interpolated linearly in dB; see `docs/records.md` for the file."""

    file: InputFile = Field(description="CSV with a header line")
    level_column: str | None = Field(None, description="column of the level in dB re 1 uPa^2/Hz; none: noise_db, or the only other one")
    time_column: str | None = Field(None, description="column of the times; none: time, or the first column")
    utc_offset_hours: float = Field(0.0, ge=-14, le=14, description="local time minus UTC, for times that do not say it")
    max_gap_s: float = Field(7200.0, gt=0, description="longest gap that is interpolated; a longer one is an error")

    def init(self, span: Span, weather: Weather, frequency_hz: float, rng: np.random.Generator) -> Callable[[float, Floats], Floats]:
        series = record.read_file(
            self.file, self.level_column, self.time_column, usual="noise_db", setting="level_column",
            utc_offset_hours=self.utc_offset_hours, max_gap_s=self.max_gap_s,
        )
        series.cover(span)
        return lambda t_s, positions_m: np.full(len(positions_m), float(series.at(span, t_s)))
