"""Tide from a measured record of the water level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from toolkit.acoustic.environment import Floats, Span, Tide
from toolkit.acoustic.environment.record import Record, read_file
from toolkit.core.inputs import InputFile

HALF_STEP_S = 900.0
"""The rate of rise is taken over twice this time, so that the noise of a gauge does not become a current."""


@dataclass(frozen=True, eq=False)
class RecordedWater:
    """Water whose level a gauge has written down."""

    series: Record
    span: Span
    mean_m: float
    largest_m_s: float

    def height_m(self, t_s: ArrayLike) -> Floats:
        return np.asarray(self.series.at(self.span, t_s) - self.mean_m)

    def current(self, t_s: ArrayLike) -> Floats:
        return np.asarray(rise_m_s(self.series, self.span, np.asarray(t_s, dtype=np.float64)) / self.largest_m_s)


def rise_m_s(series: Record, span: Span, t_s: Floats) -> Floats:
    """Rate of rise of the water around a time; at an end of the record, on its inner side."""
    first_s, last_s = series.unix_s[0] - span.origin.timestamp(), series.unix_s[-1] - span.origin.timestamp()
    before_s, after_s = np.maximum(t_s - HALF_STEP_S, first_s), np.minimum(t_s + HALF_STEP_S, last_s)
    return np.asarray((series.at(span, after_s) - series.at(span, before_s)) / (after_s - before_s))


@final
class TideRecord(Tide):
    """Height above the mean of the run from a CSV file, interpolated linearly; the current follows the rate of rise, scaled to its largest.

    See `docs/records.md` for the file.
    """

    file: InputFile = Field(description="CSV with a header line")
    height_column: str | None = Field(None, description="column of the height in m; none: height_m, or the only other column")
    time_column: str | None = Field(None, description="column of the times; none: time, or the first column")
    utc_offset_hours: float = Field(0.0, ge=-14, le=14, description="local time minus UTC, for times that do not say it")
    max_gap_s: float = Field(7200.0, gt=0, description="longest gap that is interpolated; a longer one is an error")

    def init(self, span: Span, rng: np.random.Generator) -> RecordedWater:
        series = read_file(
            self.file, self.height_column, self.time_column, usual="height_m", setting="height_column",
            utc_offset_hours=self.utc_offset_hours, max_gap_s=self.max_gap_s,
        )
        series.cover(span)
        times_s = np.arange(span.first_s, span.last_s + 600.0, 600.0).clip(max=span.last_s)
        largest = float(np.abs(rise_m_s(series, span, times_s)).max())
        return RecordedWater(series, span, float(series.at(span, times_s).mean()), largest or 1.0)
