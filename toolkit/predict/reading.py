"""A record from somebody's table: which rows, which times, which values, and the grid they are averaged on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from toolkit.acoustic.prediction.compare import Grid
from toolkit.acoustic.prediction.series import Floats
from toolkit.core.part import nearest
from toolkit.errors import DataError
from toolkit.predict.tables import Table, TableOptions, read_table
from toolkit.predict.times import TimeOptions, seconds

LEAST_CELLS = 40
LEAST_SAMPLES = 20
MOST_CELLS = 200_000
LATEST_S = 1e11
MISSING = {"", "nan", "na", "n/a", "null", "none", "-", "nat", "<na>"}
CODE = re.compile(r"-?9+(\.[90]*)?$")
FAR = 20.0
"""A value so many times as far from the median as 99 of 100 others is named."""
FILLED = 0.9
"""Share of the cells between two outages that a grid has to fill."""
OUTAGE = 10.0
"""Times the median spacing from which on two rows have an outage between them."""
STEPS_S = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
CLOCK_WORDS = ("time", "datetime", "date", "timestamp", "date_time", "t", "when", "utc", "stamp")
DATE_PARTS = (
    ("yy", "yyyy", "yr", "year"), ("mm", "mo", "month"), ("dd", "dy", "day"), ("hh", "hr", "hour"), ("mm", "mn", "mi", "minute", "min"),
)


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What of a table is wanted, and how it is written; None or empty: to be found out."""

    column: str = "snr_db"
    time: tuple[str, ...] = ()
    table: TableOptions = field(default_factory=TableOptions)
    times: TimeOptions = field(default_factory=TimeOptions)
    missing: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    step_s: float | None = None
    beside: tuple[str, ...] = ()
    """Further columns."""


class Record(NamedTuple):
    """The column on its grid, and the further columns as they were measured."""

    grid: Grid
    times_s: Floats
    """Of the rows (rows,), rising."""
    beside: dict[str, Floats]
    """Further columns (rows,), NaN where missing."""
    dated: bool
    """Whether times count from 1970."""
    notes: list[str]


def read_record(source: str | Path | pd.DataFrame | pd.Series, options: ReadOptions) -> Record:
    """Read a column and average it on a grid; says in the notes what was taken for granted.

    Raises:
        DataError: says the place and what would be right; also for a record that is too short or needs too many cells.
    """
    table = read_table(source, options.table)
    notes = table.notes
    _filter(table, options.where)
    if options.column not in map(str, table.frame.columns) and not isinstance(source, str | Path) and table.frame.shape[1] == 2:
        options = _replace_column(options, str(table.frame.columns[1]))
    values = numbers(table, options.column, options.missing)
    beside = {name: numbers(table, name, options.missing, far=False) for name in options.beside}
    times, dated = _times(table, options)
    keep = times == times
    if not keep.all():
        lost = int((~keep & (values == values)).sum())
        if lost:
            line = table.frame.index[np.flatnonzero(~keep & (values == values))[0]]
            raise DataError(f"{table.name}, line {line}: column '{' '.join(options.time)}' holds nothing, and a time is needed")
    times, values = times[keep], values[keep]
    beside = {name: row[keep] for name, row in beside.items()}
    order = np.argsort(times, kind="stable")
    if (np.diff(times) < 0).any():
        notes.append(f"rows were not in order of time ({int((np.diff(times) < 0).sum())} steps back) and have been sorted")
    times, values = times[order], values[order]
    beside = {name: row[order] for name, row in beside.items()}
    _repeated(table, options.column, times, values, notes)
    return Record(_grid(table, options, times, values, notes), times, beside, dated, notes)


def _replace_column(options: ReadOptions, column: str) -> ReadOptions:
    from dataclasses import replace

    return replace(options, column=column)


def _filter(table: Table, where: Sequence[str]) -> None:
    """Keep the rows in which every NAME=VALUE holds."""
    for text in where:
        name, equals, value = text.partition("=")
        if not equals:
            raise DataError(f"--where {text}: must look like column=value, for example tx=7")
        column = table.column(name.strip()).astype(str).str.strip()
        same = column == value.strip()
        as_numbers = pd.to_numeric(column, errors="coerce")
        with suppress(ValueError):
            same |= as_numbers == float(value)
        if not same.any():
            there = column.unique()
            raise DataError(
                f"--where {text}: no row has that{nearest(value.strip(), there.tolist())} (there are {', '.join(there[:8])}"
                f"{', …' if len(there) > 8 else ''})"
            )
        table.frame = table.frame[same.to_numpy()]


def numbers(table: Table, name: str, codes: Sequence[str] = (), *, far: bool = True) -> Floats:
    """A column as numbers (rows,), NaN where nothing, a word for it, or a code stands.

    Codes that are told count; with none told, nines (99, -999.9) that lie far outside of all else are taken for one, and said.

    Raises:
        DataError: a cell that is neither a number nor missing.
    """
    column = table.column(name)
    if pd.api.types.is_numeric_dtype(column):
        found = column.to_numpy(np.float64, na_value=np.nan).copy()
    else:
        texts = column.astype(str).str.strip()
        blank = texts.str.lower().isin(MISSING)
        plain = texts.str.replace(",", ".") if table.decimal == "," else texts
        numeric = pd.to_numeric(plain.where(~blank), errors="coerce")
        wrong = (numeric.isna() | np.isinf(numeric)) & ~blank & ~texts.isin(codes)
        if wrong.any():
            line = texts.index[wrong][0]
            shown = texts[wrong].iloc[0]
            raise DataError(
                f"{table.name}, line {line}: column '{name}' holds '{shown}', and a number is needed; mend that row, or say "
                f"--missing {shown}"
            )
        found = numeric.to_numpy(np.float64).copy()
    if np.isinf(found).any():
        raise DataError(f"{table.name}, line {column.index[np.isinf(found)][0]}: column '{name}' holds 'inf', and a number is needed")
    told = {float(code) for code in codes if re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?", code, re.IGNORECASE)}
    for code in told:
        found[found == code] = np.nan
    there = found[found == found]
    if not codes and len(there) >= 3:
        found = _without_codes(found, name, table.notes)
        there = found[found == found]
    if far and len(there) >= LEAST_SAMPLES:
        _name_far_values(there, name, table.notes)
    return found


def _without_codes(found: Floats, name: str, notes: list[str]) -> Floats:
    """Without nines that lie further from all else than all else is wide."""
    for _ in range(2):
        there = found[found == found]
        for extreme in (float(there.max()), float(there.min())):
            rest = there[there != extreme]
            if len(rest) < 3 or not CODE.match(f"{extreme:g}"):
                continue
            width = max(float(rest.max() - rest.min()), float(np.finfo(float).tiny))
            if min(abs(extreme - float(rest.max())), abs(extreme - float(rest.min()))) > width:
                count = int((found == extreme).sum())
                notes.append(f"column '{name}': {count} x {extreme:g} taken for missing (--missing none keeps them)")
                found = np.where(found == extreme, np.nan, found)
    return found


def _name_far_values(there: Floats, name: str, notes: list[str]) -> None:
    """Say so if a few values lie far from the rest, as a code for missing would."""
    middle = float(np.median(there))
    away = np.abs(there - middle)
    usual = float(np.quantile(away, 0.99)) if len(there) > 200 else float(np.quantile(away, 0.9))
    farthest = int(away.argmax())
    if usual > 0 and away[farthest] > FAR * usual:
        notes.append(
            f"column '{name}': {there[farthest]:g} lies {away[farthest] / usual:.0f} times as far from the median as nearly all others do; "
            f"if it is a code for missing, say --missing {there[farthest]:g}"
        )


def _times(table: Table, options: ReadOptions) -> tuple[Floats, bool]:
    """Seconds of each row, and whether they count from 1970."""
    frame, names = table.frame, list(options.time)
    if names == ["none"] or (not names and not (found := _time_columns(table)) and options.step_s is not None):
        if options.step_s is None:
            raise DataError("--time none: rows without times need --step, the time between two of them")
        table.notes.append("no time column: rows follow each other by --step")
        return np.arange(len(frame), dtype=np.float64) * options.step_s, False
    if not names:
        names = found
        if not names:
            raise DataError(
                f"{table.name}, line {table.header_line}: has no column 'time'; say --time NAME, or --step where there is none "
                f"(columns: {', '.join(map(str, frame.columns))})"
            )
        if names != ["time"]:
            table.notes.append(f"times are in {' '.join(names)}")
    columns = [table.column(name) for name in names]
    try:
        times = seconds(columns, names, options.times, table.notes)
    except DataError as error:
        text = str(error)
        raise DataError(text if text.startswith("--") else f"{table.name}, {text}") from None
    there = times[times == times]
    if not len(there):
        raise DataError(f"{table.name}: column '{' '.join(names)}' holds no time")
    if float(np.abs(there).max()) > LATEST_S:
        raise DataError(f"{table.name}: the last time is {there[-1]:g} s, which is no date; --time-unit says what is counted")
    numeric = len(columns) == 1 and options.times.format is None and not pd.api.types.is_datetime64_any_dtype(columns[0])
    plain = numeric and bool(pd.to_numeric(columns[0], errors="coerce").notna().any())
    unit = options.times.unit or ""
    dated = not plain or "since" in unit or unit in {"unix", "excel", "matlab", "year"} or float(there.min()) > 1e8
    return np.asarray(times, np.float64), dated


def _time_columns(table: Table) -> list[str]:
    """The column of the times, or the columns of their parts, by their names; empty if none is plain to see."""
    names = [str(column) for column in table.frame.columns]
    lower = [name.lower() for name in names]
    parts: list[str] = []
    place = 0
    for words in DATE_PARTS:
        if place < len(lower) and lower[place].lstrip("#") in words:
            parts.append(names[place])
            place += 1
    if len(parts) >= 3 and names[: len(parts)] == parts:
        return parts
    for word in CLOCK_WORDS[:1]:
        if word in names:
            return [word]
    likely = [name for name, low in zip(names, lower, strict=True) if low in CLOCK_WORDS or re.search(r"time|date|hour_utc|stamp", low)]
    dates = [name for name in names if names.count(name) == 1 and _looks_dated(table.frame[name])]
    for found in ([name for name in likely if name in dates], dates, likely):
        if len(found) == 1:
            return found
        if found:
            return found[:1] if found[0] in dates else []
    return []


def _looks_dated(column: pd.Series) -> bool:
    if pd.api.types.is_datetime64_any_dtype(column):
        return True
    texts = column.head(50).astype(str).str.strip()
    return bool(texts.str.match(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}").mean() > 0.9)


def _repeated(table: Table, column: str, times: Floats, values: Floats, notes: list[str]) -> None:
    """Say that rows of the same time are averaged; refuse what looks like several series in one table."""
    known = times[values == values]
    again = len(known) - len(np.unique(known))
    if not again:
        return
    if again > 0.2 * len(known):
        unique = table.frame.columns.is_unique
        others = [name for name in table.frame.columns if str(name) != column] if unique else []
        counted = [(table.frame[name].nunique(), str(name)) for name in others]
        few = sorted(one for one in counted if 2 <= one[0] <= again // 4)
        example = f", for example --where {few[0][1]}={table.frame[few[0][1]].iloc[0]}" if few else ""
        raise DataError(
            f"{table.name}: every time is there {len(known) / len(np.unique(known)):.3g} times on average; if these are several series, "
            f"pick one with --where{example}"
        )
    notes.append(f"{again} rows have the time of another and are averaged with it (local time set back? then say --tz)")


def _grid(table: Table, options: ReadOptions, times: Floats, values: Floats, notes: list[str]) -> Grid:
    """Average on a grid of the step asked for, or of one that fills its cells."""
    known = values == values
    if not known.any():
        raise DataError(f"{table.name}: column '{options.column}' holds no number")
    step_s = options.step_s if options.step_s is not None else chosen_step(np.unique(times), notes)
    t_s, x = times[known], values[known]
    cells = np.floor(t_s / step_s).astype(np.int64)
    span = int(cells[-1] - cells[0]) + 1
    spans = f"{table.name}: spans {span} cells of {step_s:g} s"
    if span < LEAST_CELLS:
        raise DataError(f"{spans}, and at least {LEAST_CELLS} are needed; give a longer record or a smaller --step")
    if span > MOST_CELLS:
        raise DataError(f"{spans}, over {MOST_CELLS}; give a larger --step")
    if len(x) < LEAST_SAMPLES:
        raise DataError(f"{table.name}: column '{options.column}' holds {len(x)} numbers, and at least {LEAST_SAMPLES} are needed")
    counts = np.bincount(cells - cells[0], minlength=span)
    base = float(x[0])
    sums = np.bincount(cells - cells[0], weights=x - base, minlength=span)
    row = np.where(counts > 0, base + sums / np.maximum(counts, 1), np.nan)
    return Grid(row, int(cells[0]), step_s, len(x))


def chosen_step(times: Floats, notes: list[str]) -> float:
    """The spacing of rows that are regular but for missing ones; else the least round step that fills nine cells in ten, outages apart.

    *times* (rows,) in s rise.
    """
    gaps = np.diff(times)
    if not len(gaps):
        return 1.0
    middle = float(np.median(gaps))
    usual = _most_common(gaps)
    multiples = gaps / usual
    if float(np.mean(np.abs(multiples - np.round(multiples)) <= 0.05 * np.maximum(1.0, np.round(multiples)) * (multiples > 0.9))) >= 0.95:
        return _round_step(usual)
    short = gaps[gaps <= OUTAGE * middle]
    starts = np.flatnonzero(gaps > OUTAGE * middle) + 1
    pieces = np.split(times, starts)
    for step in STEPS_S:
        if step < 0.8 * middle:
            continue
        cells = sum(int(piece[-1] // step - piece[0] // step) + 1 for piece in pieces)
        filled = sum(len(np.unique(piece // step)) for piece in pieces)
        if filled >= FILLED * cells:
            notes.append(
                f"rows are irregular (median spacing {middle:.4g} s): averaged in cells of {step} s, {filled / cells:.0%} of which hold one"
            )
            return float(step)
    return float(short.mean() * 3.0)


def _round_step(step_s: float) -> float:
    """A round step, if it is that but for the rounding of times written in days."""
    near = min(STEPS_S, key=lambda one: abs(one - step_s))
    return float(near) if abs(near - step_s) < 2e-3 * step_s else step_s


def _most_common(gaps: Floats) -> float:
    """The spacing that most have, to a hundredth of it."""
    rounded = np.round(np.log(gaps) / 0.01).astype(np.int64)
    kinds, counts = np.unique(rounded, return_counts=True)
    return float(np.median(gaps[rounded == kinds[counts.argmax()]]))
