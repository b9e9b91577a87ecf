"""Wind from a measured record."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta, timezone
from typing import final

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from toolkit.acoustic.environment import Floats, Span, Wind, record
from toolkit.core.inputs import InputFile
from toolkit.errors import DataError


@final
class WindRecord(Wind):
    """Wind speed from a CSV file, interpolated linearly: two columns, or a TMY3 file (date, hour ending, local standard time).

    See `docs/records.md` for the file. Times are UTC unless they, or `utc_offset_hours`, say otherwise.
    """

    file: InputFile = Field(description="CSV with a header line")
    speed_column: str | None = Field(None, description="column of wind speed in m/s; none: wind_speed_m_s, or the only other column")
    time_column: str | None = Field(None, description="column of the times, or of dates; none: time, date_mdy of a TMY3 file, or the first")
    hour_column: str | None = Field(None, description="column of the hour that ends, where time_column holds dates; none: there is none")
    utc_offset_hours: float = Field(0.0, ge=-14, le=14, description="local time minus UTC, for times that do not say it")
    max_gap_s: float = Field(7200.0, gt=0, description="longest gap that is interpolated; a longer one is an error")
    typical_year: int | None = Field(
        None, ge=1700, le=2500,
        description="the record joins months of different years: all are given this year, and a run must stay inside one month",
    )

    def init(self, span: Span, rng: np.random.Generator) -> Callable[[ArrayLike], Floats]:
        series = record.read_file(
            self.file, self.speed_column, self.time_column, usual="wind_speed_m_s", setting="speed_column", hour_column=self.hour_column,
            utc_offset_hours=self.utc_offset_hours, max_gap_s=self.max_gap_s, year=self.typical_year,
        )
        if (series.values < 0).any():
            row = int((series.values < 0).argmax())
            raise DataError(
                f"{self.file}, line {row + 2}: wind speed {series.values[row]:g} m/s is negative; fill or remove that row "
                "(negative values often mark missing ones)"
            )
        series.cover(span)
        if self.typical_year is not None:
            zone = timezone(timedelta(hours=self.utc_offset_hours))
            first, last = ((span.origin + timedelta(seconds=t_s)).astimezone(zone) for t_s in (span.first_s, span.last_s))
            last -= timedelta(microseconds=1)
            if (first.year, first.month) != (last.year, last.month):
                raise DataError(
                    f"{self.file}: is a typical year, whose months come from different years, and the run goes from {first:%d %B} to "
                    f"{last:%d %B}; move sea.start so that history and run stay inside one month"
                )
        return lambda t_s: series.at(span, t_s)
