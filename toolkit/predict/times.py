"""Times of a table as seconds: what the numbers or texts mean, told by options, by the names of columns, or by being unambiguous.

Plain numbers are seconds unless their size, their spacing or their column's name says otherwise. Where two readings are as likely, the
table is refused with both, since a wrong one would forecast something else without a word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import pandas as pd

from toolkit.acoustic.prediction.series import Floats
from toolkit.errors import DataError

UNITS_S = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
NAMES = {"sec": "s", "second": "s", "seconds": "s", "hour": "h", "hours": "h", "day": "d", "days": "d", "minute": "min", "minutes": "min"}
ORIGINS = {"unix": "s since 1970-01-01", "excel": "d since 1899-12-30", "matlab": "d since 0000-01-00"}
MATLAB_1970_D = 719_529.0
YEAR_S = 365.2425 * 86_400.0
PARTS = ("year", "month", "day", "hour", "minute", "second")
DAY_PARTS = (24, 48, 72, 96, 144, 288, 1440)


@dataclass(frozen=True, slots=True)
class TimeOptions:
    """How times are to be read."""

    unit: str | None = None
    """s, ms, us, ns, min, h, d, year, unix, excel, matlab, or like "d since 1700-01-01"."""
    format: str | None = None
    """As strptime takes it."""
    tz: str | None = None
    """Time zone of texts that name none; UTC without."""


def seconds(texts: Sequence[pd.Series], names: Sequence[str], options: TimeOptions, notes: list[str]) -> Floats:
    """Times in s, NaN where nothing stands, of one or several columns of *texts*; says in *notes* what was taken for granted.

    Raises:
        DataError: a cell that is no time, or times with two readings.
    """
    if options.unit is not None and _scale(options.unit) is None:
        units = ", ".join([*UNITS_S, "year", *ORIGINS])
        raise DataError(f"--time-unit {options.unit}: must be one of {units}, or like 'd since 1700-01-01'")
    if len(texts) > 1:
        return _from_parts(texts, names, options, notes)
    column, name = texts[0], names[0]
    if pd.api.types.is_datetime64_any_dtype(column):
        return _from_stamps(column, name, options, notes)
    texts_of = column.astype(str).str.strip()
    blank = texts_of.isin(["", "nan", "NaN", "NaT", "None"])
    numbers = pd.to_numeric(texts_of.where(~blank), errors="coerce")
    if options.format is None and bool((numbers.notna() | blank).all()):
        return _from_numbers(numbers.to_numpy(np.float64), name, options, notes)
    return _from_texts(texts_of.where(~blank), name, options, notes)


def _scale(unit: str) -> tuple[float, float] | None:
    """Seconds per unit, and seconds from 1970 to the unit's origin (0 for a clock of its own); None for no unit."""
    unit = ORIGINS.get(unit, unit).strip()
    if unit.endswith("since 0000-01-00"):
        return 86_400.0, -MATLAB_1970_D * 86_400.0
    word, since, origin = unit.partition(" since ")
    word = NAMES.get(word, word)
    if word not in UNITS_S:
        return (YEAR_S, -1970.0 * YEAR_S) if word == "year" and not since else None
    if not since:
        return UNITS_S[word], 0.0
    try:
        return UNITS_S[word], (np.datetime64(origin.strip().replace(" ", "T"), "ms").astype(np.int64)) / 1e3
    except ValueError:
        return None


def _from_numbers(numbers: Floats, name: str, options: TimeOptions, notes: list[str]) -> Floats:
    unit = options.unit
    if unit is None:
        unit = _sniffed(numbers, name, notes)
    if unit == "year":
        return _decimal_years(numbers)
    scale = _scale(unit)
    assert scale is not None  # checked where the option is read
    found: Floats = numbers * scale[0] + scale[1]
    return np.round(found) if scale[0] >= 3600.0 else found  # a time written in days is rounded by some ms, and no time of day is meant


def _decimal_years(numbers: Floats) -> Floats:
    years = np.floor(np.where(np.isnan(numbers), 1970.0, numbers)).astype(int)
    starts, ends = ((years + more - 1970).astype("datetime64[Y]").astype("datetime64[s]").astype(np.int64) for more in (0, 1))
    found: Floats = starts + (numbers - years) * (ends - starts)
    return np.round(found)


def _sniffed(numbers: Floats, name: str, notes: list[str]) -> str:
    """The unit of plain numbers."""
    there = numbers[numbers == numbers]
    if not len(there):
        raise DataError(f"column '{name}' holds no time")
    low, high = float(there.min()), float(there.max())
    gaps = np.diff(np.sort(there))
    gaps = gaps[gaps > 0]
    gap = float(np.median(gaps)) if len(gaps) else 1.0
    words = [word for word in re.split(r"[^a-z]+", name.lower()) if word]
    for word in reversed(words):
        unit = NAMES.get(word, word)
        if unit in UNITS_S and len(words) > 1:
            notes.append(f"times in {unit}, as the column's name '{name}' says")
            return unit
    for least, most, unit in ((1e17, 1e19, "ns"), (1e14, 1e16, "us"), (1e11, 1e13, "ms")):
        if least <= low and high <= most:
            first = pd.Timestamp(low * UNITS_S[unit], unit="s")
            notes.append(f"times are {unit} since 1970: the first is {first:%Y-%m-%d %H:%M}")
            return f"{unit} since 1970-01-01"
    whole = bool(np.all(there == np.round(there)))
    if 693_000 <= low <= high <= 803_000 and gap <= 1.0:
        _refuse(name, low, "matlab", "days since year 0 (MATLAB)", (low - MATLAB_1970_D) * 86_400.0)
    if 20_000 <= low <= high <= 80_000 and gap <= 1.0 and not whole:
        _refuse(name, low, "excel", "days since 1899-12-30 (Excel)", (low - 25_569.0) * 86_400.0)
    if 1_600 <= low <= high <= 2_200 and not whole:
        _refuse(name, low, "year", "decimal years", float(_decimal_years(np.array([low]))[0]))
    if gap < 0.5 and any(abs(gap * parts - 1.0) < 2e-3 for parts in DAY_PARTS):
        raise DataError(
            f"column '{name}': rows lie {gap:g} apart, which is {gap * 1440:.4g} min if these are days and {gap:g} s if they are seconds; "
            "say --time-unit d or --time-unit s (or like 'd since 1700-01-01')"
        )
    if len(gaps) >= 9 and gap >= 60_000 and gap % 1000.0 == 0.0:
        raise DataError(
            f"column '{name}': rows lie {gap:g} apart, which is {gap / 60_000:g} min if these are milliseconds and {gap / 86_400:.3g} days "
            "if they are seconds; say --time-unit ms or --time-unit s"
        )
    notes.append("times taken as seconds (--time-unit says otherwise)")
    return "s"


def _refuse(name: str, value: float, option: str, called: str, then_s: float) -> NoReturn:
    when = pd.Timestamp(then_s, unit="s")
    raise DataError(
        f"column '{name}': {value:.10g} may be {called}, that is {when:%Y-%m-%d %H:%M}, or seconds; say --time-unit {option} or "
        "--time-unit s"
    )


def _from_texts(texts: pd.Series, name: str, options: TimeOptions, notes: list[str]) -> Floats:
    if options.format is not None:
        stamps = pd.to_datetime(texts, format=options.format, errors="coerce", utc="%z" in options.format)
        _complain(texts, stamps, name, f"a time like {options.format} is needed")
        return _from_stamps(stamps, name, options, notes)
    there = texts.dropna()
    slashed = there.str.match(r"\s*\d{1,2}[/.-]\d{1,2}[/.-]\d{4}")
    if len(there) and bool(slashed.mean() > 0.5):
        return _from_stamps(_day_or_month_first(texts, name, notes), name, options, notes)
    stamps = pd.to_datetime(texts.str.replace("/", "-"), format="ISO8601", errors="coerce", utc=bool(_zoned(there).any()))
    _complain(texts, stamps, name, "a time is needed: seconds, or like 1997-07-04T09:00:00Z (or --time-format)")
    return _from_stamps(stamps, name, options, notes)


def _zoned(texts: pd.Series) -> pd.Series:
    return texts.str.contains(r"(?:Z|[+-]\d\d:?\d\d)$", regex=True)


def _day_or_month_first(texts: pd.Series, name: str, notes: list[str]) -> pd.Series:
    """Dates such as 03/04/2012, whichever way round all of them can be read; refused where both can."""
    plain = texts.str.replace(r"[/.]", "-", regex=True)
    day, month = (pd.to_datetime(plain, dayfirst=first, format="mixed", errors="coerce") for first in (True, False))
    fields = plain.dropna().str.extract(r"^\s*(\d{1,2})-(\d{1,2})-").astype(float)
    day_fits, month_fits = bool((fields[1] <= 12).all()), bool((fields[0] <= 12).all())
    if day_fits and month_fits and not day.dropna().equals(month.dropna()):
        first = texts.dropna().iloc[0]
        raise DataError(
            f"column '{name}': {first} may be {day.dropna().iloc[0]:%d %B %Y} or {month.dropna().iloc[0]:%d %B %Y}; "
            "say --time-format, for example %d/%m/%Y %H:%M"
        )
    stamps = day if day_fits else month
    _complain(texts, stamps, name, "a date is needed; --time-format says how they are written")
    notes.append(f"dates have the {'day' if day_fits else 'month'} first: the first is {stamps.dropna().iloc[0]:%Y-%m-%d}")
    return stamps


def _complain(texts: pd.Series, stamps: pd.Series, name: str, what: str) -> None:
    wrong = texts.notna() & stamps.isna()
    if wrong.any():
        line, text = next(iter(texts[wrong].items()))
        raise DataError(f"line {line}: column '{name}' holds '{text}', and {what}")


def _from_stamps(stamps: pd.Series, name: str, options: TimeOptions, notes: list[str]) -> Floats:
    stamps = pd.to_datetime(stamps)
    if stamps.dt.tz is None:
        if options.tz is None:
            notes.append("times taken as UTC (--tz says otherwise)")
        stamps = _localised(stamps, name, options.tz or "UTC")
    known = stamps.notna()
    utc = stamps.dt.tz_convert("UTC").dt.tz_localize(None).astype("datetime64[ns]")
    found = np.full(len(stamps), np.nan)
    found[known.to_numpy()] = utc[known].to_numpy().astype(np.int64) / 1e9
    return found


def _localised(stamps: pd.Series, name: str, tz: str) -> pd.Series:
    try:
        found: pd.Series = stamps.dt.tz_localize(tz, ambiguous="infer")
        return found
    except (KeyError, ValueError) as error:
        if "ambiguous" not in str(error).lower() and "repeated" not in str(error).lower() and "nonexistent" not in str(error).lower():
            raise DataError(f"--tz {tz}: is not a time zone; one like Europe/Amsterdam or Etc/GMT-1 is needed") from None
        raise DataError(
            f"column '{name}': in {tz} not every time is there once ({error}); where a clock was never changed, say --tz Etc/GMT-1 (UTC+1)"
        ) from None


def _from_parts(texts: Sequence[pd.Series], names: Sequence[str], options: TimeOptions, notes: list[str]) -> Floats:
    """Year, month, day, … in columns of their own; or date and clock in two."""
    numbers = [pd.to_numeric(column, errors="coerce") for column in texts]
    if len(texts) == 2 and bool(numbers[0].isna().any()):
        joined = texts[0].astype(str).str.strip() + " " + texts[1].astype(str).str.strip()
        return seconds([joined], [" ".join(names)], options, notes)
    for column, name, text in zip(numbers, names, texts, strict=True):
        if column.isna().any():
            line = column.index[column.isna()][0]
            raise DataError(f"line {line}: column '{name}' holds '{text[line]}', and a number is needed")
    if not 3 <= len(texts) <= len(PARTS):
        raise DataError(f"--time {' '.join(names)}: year, month, day and then hour, minute, second are needed, three to six columns")
    years = numbers[0].to_numpy(np.float64)
    if years.max() < 100:
        years = np.where(years < 50, 2000.0, 1900.0) + years
        notes.append(f"years of two digits: the first is {years[0]:.0f}")
    months = (years - 1970) * 12 + numbers[1].to_numpy(np.float64) - 1
    found: Floats = months.astype(int).astype("datetime64[M]").astype("datetime64[s]").astype(np.int64).astype(np.float64)
    found += (numbers[2].to_numpy(np.float64) - 1) * 86_400.0
    for column, size in zip(numbers[3:], (3600.0, 60.0, 1.0), strict=False):
        found += column.to_numpy(np.float64) * size
    if options.tz is not None:
        stamps = pd.Series(pd.to_datetime(found, unit="s"), index=texts[0].index)
        return _from_stamps(stamps, names[0], options, notes)
    notes.append("times taken as UTC (--tz says otherwise)")
    return found
