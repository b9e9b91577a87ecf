"""Time series from a CSV file: strict about order and gaps, linear in between."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from toolkit.acoustic.environment import Floats, Span
from toolkit.core.inputs import COLUMN, number, read_columns, read_header
from toolkit.core.once import read_once
from toolkit.errors import DataError


@dataclass(frozen=True)
class Record:
    """A checked series: UTC seconds since 1970 and values, strictly increasing in time and without long gaps."""

    path: Path
    unix_s: Floats
    values: Floats

    def cover(self, span: Span) -> None:
        """Refuse a span that the record does not cover.

        Raises:
            DataError: says what is covered and what was asked for.
        """
        first, last = (span.origin + timedelta(seconds=t_s) for t_s in (span.first_s, span.last_s))
        if first.timestamp() < self.unix_s[0] or last.timestamp() > self.unix_s[-1]:
            covered = " to ".join(_text(datetime.fromtimestamp(t_s, UTC)) for t_s in (self.unix_s[0], self.unix_s[-1]))
            raise DataError(
                f"{self.path}: covers {covered}, and the run needs {_text(first)} to {_text(last)}; move the start or shorten the run"
            )

    def at(self, span: Span, t_s: ArrayLike) -> Floats:
        """Return values at times in s from the span's origin."""
        return np.interp(np.asarray(t_s, dtype=np.float64) + span.origin.timestamp(), self.unix_s, self.values)


TMY3 = ("date_mdy", "hour_ending_lst")
"""Date and hour that ends, as typical meteorological years have them; such a header is recognised."""


def read_file(
    path: Path, value_column: str | None, time_column: str | None, *, usual: str, setting: str, hour_column: str | None = None,
    utc_offset_hours: float, max_gap_s: float, year: int | None = None,
) -> Record:
    """Read a series from a CSV file whose columns need not be named where there is no doubt.

    Times are in *time_column*, or else in a column `time`, in those of a typical year (`date_mdy`, `hour_ending_lst`), or in the first;
    values in *value_column*, or else in one called *usual*, or in the only other one. *setting* is what names it in a scenario.

    Raises:
        DataError: as `read`; or there are several columns that could hold the values.
    """
    header = read_header(path)
    if time_column is None:
        if hour_column is None and set(TMY3) <= set(header):
            time_column, hour_column = TMY3
        else:
            time_column = "time" if "time" in header else header[0]
    if value_column is None:
        others = [name for name in header if name not in {time_column, hour_column}]
        if usual not in others and len(others) != 1:
            names = f" ({', '.join(header)})" if all(map(COLUMN.fullmatch, header)) else ""
            raise DataError(
                f"{path}, line 1: has {len(header)} columns{names} and none called '{usual}'; name the one to read in {setting}"
            )
        value_column = usual if usual in others else others[0]
    return read(
        path, value_column, time_column, hour_column=hour_column, utc_offset_hours=utc_offset_hours, max_gap_s=max_gap_s, year=year
    )


@read_once(16)
def read(
    path: Path, value_column: str, time_column: str, *, hour_column: str | None, utc_offset_hours: float, max_gap_s: float,
    year: int | None = None,
) -> Record:
    """Read a series from a CSV file.

    Times are ISO 8601 in *time_column* (without an offset they are local at *utc_offset_hours*). With *hour_column*, as in TMY
    files, *time_column* is a date (month/day/year) and *hour_column* the hour that ends, 01:00 to 24:00.
    *year*, if given, replaces the year of every such date. A file is read once until it changes.

    Raises:
        DataError: a cell that is no time or number, times out of order or twice, a gap over *max_gap_s*; says line and remedy.
    """
    columns = read_columns(path, [value_column, time_column, *([hour_column] if hour_column else [])])
    offset_s = utc_offset_hours * 3600.0
    hours = columns[hour_column] if hour_column else [""] * len(columns[time_column])
    times: list[float] = []
    values: list[float] = []
    for index, (stamp, hour, text) in enumerate(zip(columns[time_column], hours, columns[value_column], strict=True)):
        line = index + 2
        times.append(_time(path, line, stamp, hour, year) - (offset_s if _is_local(stamp, hour) else 0.0))
        values.append(number(path, line, value_column, text))
        if index == 0:
            continue
        step_s = times[-1] - times[-2]
        if step_s == 0:
            raise DataError(f"{path}, line {line}: the time {stamp} {hour}".rstrip() + " occurs twice; keep one of the two rows")
        if step_s < 0:
            remedy = "sort the rows by time" + ("" if year is not None else ", or set typical_year if months of several years are joined")
            raise DataError(f"{path}, line {line}: the time {stamp} {hour}".rstrip() + f" lies before the row above; {remedy}")
        month = slice(0, 2) if hour else slice(5, 7)
        at_join = year is not None and stamp[month] != columns[time_column][index - 1][month]  # 28 February may meet 1 March
        if step_s > max_gap_s and not at_join:
            raise DataError(
                f"{path}, line {line}: follows a gap of {step_s / 3600:g} h, over max_gap_s = {max_gap_s:g}; fill the gap, "
                "or raise max_gap_s to interpolate across it"
            )
    return Record(path, np.array(times), np.array(values))


def _is_local(stamp: str, hour: str) -> bool:
    return bool(hour) or datetime.fromisoformat(stamp).tzinfo is None


def _time(path: Path, line: int, stamp: str, hour: str, year: int | None) -> float:
    try:
        if not hour:
            moment = datetime.fromisoformat(stamp)
            moment = moment if year is None else moment.replace(year=year)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        month, day, own_year = map(int, stamp.split("/"))
        hours, minutes = map(int, hour.split(":"))
        if not 0 <= 60 * hours + minutes <= 24 * 60 or not 0 <= minutes < 60:
            raise ValueError(hour)
        midnight = datetime(own_year if year is None else year, month, day, tzinfo=UTC)
        return midnight.timestamp() + 3600.0 * hours + 60.0 * minutes
    except ValueError:
        shape = "a date as month/day/year and an hour from 01:00 to 24:00" if hour else "a time like 1997-07-04T09:00:00Z"
        raise DataError(f"{path}, line {line}: '{stamp} {hour}".rstrip() + f"' is not {shape}") from None


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
