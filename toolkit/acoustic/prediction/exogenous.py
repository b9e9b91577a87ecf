"""Measured surroundings of a link (wind, tide, …) from a CSV, for predictors that can use more than the SNR itself.

Source: measured environment as input of a channel model is Wang's (OCEANS 2016); the reading is ours. Departures: a value is
interpolated linearly, also over gaps of the record; missing numbers are refused when the file is read.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from toolkit.acoustic.prediction.series import Floats
from toolkit.core.inputs import InputFile, number, read_columns
from toolkit.core.part import Spec
from toolkit.errors import DataError


class Exogenous(Spec):
    """Columns of a CSV with a header line; times are numbers in seconds on the series' own clock, or ISO 8601 (then seconds since 1970).

    At a target in the future a column is known only if it can be, as a tide table is: those are listed in `known_ahead`. Of the
    others the value at the present is used.
    """

    file: InputFile = Field(description="CSV with a header line")
    time: str = Field("time", description="column of the times")
    columns: tuple[str, ...] = Field(min_length=1, description="columns that are used")
    known_ahead: tuple[str, ...] = Field((), description="those of them that are known for the future too")

    @model_validator(mode="after")
    def _known_are_used(self) -> Self:
        strange = [name for name in self.known_ahead if name not in self.columns]
        if strange:
            raise ValueError(f"known_ahead: '{strange[0]}' is not among columns")
        return self

    def at(self, cells: Floats, step_s: float, now_cell: float) -> Floats:
        """Values at the middles of *cells* (n,), absolute numbers of *step_s* each, as they are known in *now_cell*: (n, columns)."""
        return self._look([cells if name in self.known_ahead else np.minimum(cells, now_cell) for name in self.columns], step_s)

    def beside(self, cells: Floats, ahead: int, step_s: float) -> Floats:
        """What was known in each of *cells* (n,) of the surroundings *ahead* cells later: (n, columns)."""
        return self._look([cells + ahead if name in self.known_ahead else cells for name in self.columns], step_s)

    def _look(self, cells: list[Floats], step_s: float) -> Floats:
        """Every column at its own *cells* (n,).

        Raises:
            DataError: the record does not reach that far.
        """
        record = _read(self.file, self.time, self.columns)
        found = np.empty((len(cells[0]), len(cells)))
        for index, seen in enumerate(cells):
            t_s = (seen + 0.5) * step_s
            if len(t_s) and (t_s.min() < record.t_s[0] - step_s or t_s.max() > record.t_s[-1] + step_s):
                raise DataError(
                    f"{self.file}: covers {record.t_s[0]:g} s to {record.t_s[-1]:g} s, and {t_s.min():g} s to {t_s.max():g} s of "
                    f"column '{self.columns[index]}' are needed"
                )
            found[:, index] = np.interp(t_s, record.t_s, record.values[:, index])
        return found


class _Record(NamedTuple):
    """Times (rows,) in s, strictly rising, and values (rows, columns)."""

    t_s: Floats
    values: Floats


@lru_cache(maxsize=8)
def _read(path: Path, time: str, columns: tuple[str, ...]) -> _Record:
    texts = read_columns(path, [time, *columns])
    t_s = read_times(path, time, texts[time])
    values = [[number(path, line, name, text) for line, text in enumerate(texts[name], start=2)] for name in columns]
    return _Record(t_s, np.array(values).T)


def read_times(path: Path, column: str, texts: list[str]) -> Floats:
    """Times in s, strictly rising: plain numbers as they are, or ISO 8601 (UTC unless it says otherwise) as seconds since 1970.

    Raises:
        DataError: a cell that is neither, or one that is not later than the one above; says the line.
    """
    numeric = _is_number(texts[0])
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
        if len(times) > 1 and times[-1] <= times[-2]:
            same = times[-1] == times[-2]
            what = "is that of the row above; keep one of the two" if same else "lies before that of the row above; sort the rows"
            raise DataError(f"{path}, line {line}: the time {text} {what}")
    return np.array(times)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
