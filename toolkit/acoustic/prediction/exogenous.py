"""Measured surroundings of a link (wind, tide, …) from a CSV, for predictors that can use more than the SNR itself.

Source: measured environment as input of a channel model is Wang's (OCEANS 2016); the reading is ours. Departures: rows are averaged
per grid cell as the SNR is; a cell without a row holds the value before it, or, of a column that is known ahead, lies on the line to
the next one; missing numbers are refused when the file is read.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from pydantic import Field, PrivateAttr, model_validator

from toolkit.acoustic.prediction.series import Floats
from toolkit.core.inputs import InputFile, number, read_columns
from toolkit.core.once import read_once
from toolkit.core.part import Spec
from toolkit.errors import DataError


class Exogenous(Spec):
    """Columns of a CSV with a header line; times are numbers in seconds on the series' own clock, or ISO 8601 (then seconds since 1970).

    At a target in the future a column is known only if it can be, as a tide table is: those are listed in `known_ahead`. Of the
    others the value at the present is used.
    """

    file: InputFile | None = Field(None, description="CSV with a header line")
    time: str = Field("time", description="column of the times")
    columns: tuple[str, ...] = Field(min_length=1, description="columns that are used")
    known_ahead: tuple[str, ...] = Field((), description="those of them that are known for the future too")
    _held: dict[float, _Grid] = PrivateAttr(default_factory=dict)
    _measured: tuple[Floats, Floats] | None = PrivateAttr(default=None)
    """Times (rows,) in s and values (rows, columns) that are in memory, with NaN where missing."""

    @classmethod
    def of(cls, times_s: Floats, columns: dict[str, Floats], known_ahead: tuple[str, ...] = ()) -> Exogenous:
        """Surroundings that are in memory: times (rows,) that rise, and columns (rows,) with NaN where missing."""
        found = cls(columns=tuple(columns), known_ahead=known_ahead)
        found._measured = (times_s, np.stack(list(columns.values()), axis=1))
        return found

    def _grid(self, step_s: float) -> _Grid:
        if self._measured is None:
            if self.file is None:
                raise DataError("exogenous.file: is needed, a CSV with the columns " + ", ".join(self.columns))
            return _on_grid(self.file, self.time, self.columns, step_s)
        if step_s not in self._held:
            self._held[step_s] = _gridded(*self._measured, step_s)
        return self._held[step_s]

    @model_validator(mode="after")
    def _known_are_used(self) -> Self:
        strange = [name for name in self.known_ahead if name not in self.columns]
        if strange:
            raise ValueError(f"known_ahead: '{strange[0]}' is not among columns")
        return self

    @property
    def held(self) -> tuple[str, ...]:
        """The columns that are not known ahead."""
        return tuple(name for name in self.columns if name not in self.known_ahead)

    def ahead_of(self, cells: Floats, step_s: float) -> Floats:
        """The columns that are known ahead, in *cells* (n,), absolute numbers of *step_s* each: (n, columns known ahead)."""
        return self._look([(name, cells) for name in self.columns if name in self.known_ahead], len(cells), step_s)

    def present_at(self, cells: Floats, step_s: float) -> Floats:
        """The columns that are not known ahead, as they were known in each of *cells* (n,): (n, columns not known ahead)."""
        return self._look([(name, cells) for name in self.held], len(cells), step_s)

    def beside(self, cells: Floats, ahead: int, step_s: float) -> Floats:
        """What was known in each of *cells* (n,) of the surroundings *ahead* cells later: (n, columns)."""
        return self._look([(name, cells + ahead if name in self.known_ahead else cells) for name in self.columns], len(cells), step_s)

    def _look(self, asked: list[tuple[str, Floats]], count: int, step_s: float) -> Floats:
        """Columns by name, each at its own cells (count,): (count, columns asked).

        Raises:
            DataError: the record does not reach that far.
        """
        record = self._grid(step_s)
        found = np.empty((count, len(asked)))
        for index, (name, seen) in enumerate(asked):
            places = seen.astype(np.intp) - record.first_cell
            values = record.drawn if name in self.known_ahead else record.held
            if len(places) and (places.min() < 0 or places.max() >= len(values)):
                covers = " to ".join(f"{(record.first_cell + place) * step_s:g} s" for place in (0, len(values)))
                needs = f"{seen.min() * step_s:g} s to {(seen.max() + 1) * step_s:g} s"
                raise DataError(f"{self.file or 'the record'}: covers {covers}, and {needs} of column '{name}' are needed")
            found[:, index] = values[places, self.columns.index(name)]
        return found


class _Grid(NamedTuple):
    """Absolute number of the first cell with a row, and values (cells, columns) in two ways of filling cells without one."""

    first_cell: int
    drawn: Floats
    """On the line between the rows around, which takes knowing the later one."""
    held: Floats
    """As in the last cell with a row."""


@read_once(8)
def _on_grid(path: Path, time: str, columns: tuple[str, ...], step_s: float) -> _Grid:
    texts = read_columns(path, [time, *columns])
    times_s = read_times(path, time, texts[time])
    numbers = [[number(path, line, name, text) for line, text in enumerate(texts[name], start=2)] for name in columns]
    return _gridded(times_s, np.array(numbers).T, step_s)


def _gridded(times_s: Floats, values: Floats, step_s: float) -> _Grid:
    """Rows (rows, columns) averaged per cell, and cells without a number filled in both ways; the first number serves before itself."""
    cells = np.floor(times_s / step_s).astype(np.intp)
    first, last = int(cells[0]), int(cells[-1])
    every = np.arange(last - first + 1)
    drawn, held = [], []
    for column in values.T:
        known = column == column
        if not known.any():
            raise DataError("a column of the surroundings holds no number")
        sums = np.bincount(cells[known] - first, weights=column[known], minlength=len(every))
        counts = np.bincount(cells[known] - first, minlength=len(every))
        present = np.flatnonzero(counts)
        means = sums[present] / counts[present]
        drawn.append(np.interp(every, present, means))
        held.append(means[np.maximum(np.searchsorted(present, every, side="right") - 1, 0)])
    return _Grid(first, np.stack(drawn, axis=1), np.stack(held, axis=1))


def read_times(path: Path, column: str, texts: list[str], *, rising: bool = True) -> Floats:
    """Times in s: plain numbers as they are, or ISO 8601 (UTC unless it says otherwise) as seconds since 1970.

    Raises:
        DataError: a cell that is neither, or, of *rising* times, one that is not later than the one above; says the line.
    """
    numeric = is_number(texts[0])
    times: list[float] = []
    for line, text in enumerate(texts, start=2):
        if numeric:
            times.append(number(path, line, column, text))
        else:
            try:
                moment = datetime.fromisoformat(text)
            except ValueError:
                shown = f"'{text}'" if text else "nothing"
                raise DataError(
                    f"{path}, line {line}: column '{column}' holds {shown}, and a time is needed: seconds, or like 1997-07-04T09:00:00Z"
                ) from None
            times.append((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
        if rising and len(times) > 1 and times[-1] <= times[-2]:
            same = times[-1] == times[-2]
            what = "is that of the row above; keep one of the two" if same else "lies before that of the row above; sort the rows"
            raise DataError(f"{path}, line {line}: the time {text} {what}")
    return np.array(times)


def is_number(text: str) -> bool:
    """Whether *text* is a number, as against a date."""
    try:
        float(text)
    except ValueError:
        return False
    return True
