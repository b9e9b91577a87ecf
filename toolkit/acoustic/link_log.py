"""Reading a log of links: SNR by time, sender and receiver, from CSV or parquet, in rows or in a column per link.

Source: ours. Departures: a row without a number is not a row; nothing is resampled.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolkit.acoustic.prediction.exogenous import is_number, read_times
from toolkit.core.inputs import number, read_columns
from toolkit.core.once import read_once
from toolkit.core.part import nearest
from toolkit.errors import DataError, listed

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

LINK = re.compile(r"(\d+)\s*->\s*(\d+)")
MISSING = {"", "nan", "na", "n/a", "null", "none", "-"}


class LinkLog(NamedTuple):
    """Rows sorted by link and then by time; link i has the rows from `starts[i]` to `starts[i + 1]`."""

    path: Path
    senders: Ints
    """(links,)"""
    receivers: Ints
    starts: Ints
    """(links + 1,)"""
    time_s: Floats
    """(rows,), strictly rising within a link."""
    snr_db: Floats
    by_calendar: bool
    """Times are seconds since 1970, because the file gives dates; otherwise they are what the file says."""


class Columns(NamedTuple):
    """What the columns are called."""

    time: str
    sender: str
    receiver: str
    snr: str


@read_once(4)
def read(path: Path, columns: Columns) -> LinkLog:
    """Read a log, once until it changes.

    Raises:
        DataError: no such columns, a cell that is no time, node or number, a link of a node to itself, or two rows of one link at
            one time; says line and remedy.
    """
    if path.suffix == ".parquet":
        names, table = _parquet(path)
    else:
        names, table = _csv(path)
    if columns.time not in names:
        raise DataError(f"{path}: has no column '{columns.time}'{nearest(columns.time, names)} (columns: {listed(names)})")
    links = [(name, match) for name in names if (match := LINK.fullmatch(name))]
    wanted = [columns.sender, columns.receiver, columns.snr]
    if all(name in names for name in wanted):
        time_s, by_calendar = _times(path, columns.time, table[columns.time], rising=False)
        senders, receivers = (_nodes(path, name, table[name]) for name in wanted[:2])
        snr_db = _numbers(path, columns.snr, table[columns.snr])
        lines = np.arange(2, len(time_s) + 2)
    elif links:
        time_s, by_calendar = _times(path, columns.time, table[columns.time], rising=True)
        count = len(time_s)
        senders, receivers = (np.repeat([int(match[end]) for _, match in links], count).astype(np.intp) for end in (1, 2))
        snr_db = np.concatenate([_numbers(path, name, table[name]) for name, _ in links])
        time_s, lines = np.tile(time_s, len(links)), np.tile(np.arange(2, count + 2), len(links))
    else:
        raise DataError(
            f"{path}: needs the columns {', '.join(wanted)}, or one column per link, called like 3->7 (columns: {listed(names)})"
        )
    return _sorted(path, senders=senders, receivers=receivers, time_s=time_s, snr_db=snr_db, lines=lines, by_calendar=by_calendar)


def _sorted(
    path: Path, *, senders: Ints, receivers: Ints, time_s: Floats, snr_db: Floats, lines: Ints, by_calendar: bool
) -> LinkLog:
    known = ~np.isnan(snr_db)
    if not known.any():
        raise DataError(f"{path}: holds no SNR")
    itself = np.flatnonzero(senders == receivers)
    if len(itself):
        row = itself[0]
        raise DataError(f"{path}, line {lines[row]}: node {senders[row]} is sender and receiver; a link joins two nodes")
    order = np.lexsort((lines, time_s, receivers, senders))
    order = order[known[order]]
    senders, receivers, time_s, snr_db, lines = senders[order], receivers[order], time_s[order], snr_db[order], lines[order]
    new = np.append(True, (np.diff(senders) != 0) | (np.diff(receivers) != 0))
    twice = np.flatnonzero(~new[1:] & (np.diff(time_s) == 0))
    if len(twice):
        row = twice[0]
        raise DataError(
            f"{path}, line {lines[row + 1]}: link {senders[row]}->{receivers[row]} has a row at this time already, in line {lines[row]}; "
            "keep one of the two"
        )
    starts = np.flatnonzero(new)
    return LinkLog(
        path, senders=senders[starts], receivers=receivers[starts], starts=np.append(starts, len(time_s)), time_s=time_s, snr_db=snr_db,
        by_calendar=by_calendar,
    )


def _csv(path: Path) -> tuple[list[str], dict[str, Sequence[str] | Floats]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            names = [cell.strip() for cell in next(csv.reader(file), [])]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV ({error})") from None
    return names, dict(read_columns(path, names))


def _parquet(path: Path) -> tuple[list[str], dict[str, Sequence[str] | Floats]]:
    import pandas as pd
    from pyarrow import ArrowException

    try:
        frame = pd.read_parquet(path)
    except (OSError, ArrowException) as error:
        raise DataError(f"{path}: cannot be read as parquet ({error})") from None
    if frame.empty:
        raise DataError(f"{path}: has no rows")
    table: dict[str, Sequence[str] | Floats] = {}
    for name in map(str, frame.columns):
        column = frame[name]
        if pd.api.types.is_numeric_dtype(column):
            table[name] = column.to_numpy(np.float64, na_value=np.nan)
        elif pd.api.types.is_datetime64_any_dtype(column):
            table[name] = [moment.isoformat() for moment in column]
        else:
            table[name] = column.astype(str).tolist()
    return list(table), table


def _times(path: Path, name: str, cells: Sequence[str] | Floats, *, rising: bool) -> tuple[Floats, bool]:
    if isinstance(cells, np.ndarray):
        if not np.isfinite(cells).all():
            raise DataError(f"{path}, row {np.flatnonzero(~np.isfinite(cells))[0] + 1}: column '{name}' holds no time")
        time_s, by_calendar = cells, False
    else:
        time_s = read_times(path, name, list(cells), rising=False)
        by_calendar = not is_number(cells[0])
    back = np.flatnonzero(np.diff(time_s) <= 0)
    if rising and len(back):
        raise DataError(f"{path}, line {back[0] + 3}: the time is not later than that of the row above; sort the rows and keep one of each")
    return time_s, by_calendar


def _nodes(path: Path, name: str, cells: Sequence[str] | Floats) -> Ints:
    values = _numbers(path, name, cells)
    strange = np.flatnonzero(~(values >= 0) | (values != np.floor(values)))
    if len(strange):
        raise DataError(f"{path}, line {strange[0] + 2}: column '{name}' holds '{cells[strange[0]]}', and the number of a node is needed")
    return values.astype(np.intp)


def _numbers(path: Path, name: str, cells: Sequence[str] | Floats) -> Floats:
    """NaN where nothing was measured."""
    if isinstance(cells, np.ndarray):
        values = cells
    else:
        values = np.array([
            np.nan if text.lower() in MISSING else number(path, line, name, text) for line, text in enumerate(cells, start=2)
        ])
    if np.isinf(values).any():
        raise DataError(f"{path}, line {np.flatnonzero(np.isinf(values))[0] + 2}: column '{name}' is infinite; leave out rows without SNR")
    return values
