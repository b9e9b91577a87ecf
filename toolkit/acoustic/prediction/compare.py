"""Predictors compared on a column of somebody's CSV: reading it onto the grid, and scoring on the end of the record.

Source: ours; scores as in `evaluate`. Departures: forecasts are made from at most `ORIGINS` cells, evenly spaced, lest a long record
take hours.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from toolkit.acoustic.prediction import Forecast, Predictor
from toolkit.acoustic.prediction.evaluate import Z90, brier, crps, diebold_mariano, errors, rolling
from toolkit.acoustic.prediction.exogenous import read_times
from toolkit.acoustic.prediction.series import Floats, SnrSeries
from toolkit.core.inputs import number, read_columns
from toolkit.errors import DataError

LEAST_CELLS = 40
LEAST_SAMPLES = 20
MOST_CELLS = 200_000
LATEST_S = 1e11
"""Times beyond this, the year 5138 if they count from 1970, are taken for milliseconds."""
ORIGINS = 600
"""Forecasts per horizon at most."""
MISSING = {"", "nan", "na", "n/a", "null", "none", "-"}


class Grid(NamedTuple):
    """A column on its grid: means per cell (cells,), NaN where there was no sample, and the absolute number of the first cell."""

    values: Floats
    first_cell: int
    step_s: float
    samples: int

    @property
    def hours(self) -> Floats:
        """Middles of the cells in hours from the first one's start."""
        return np.asarray((np.arange(len(self.values)) + 0.5) * self.step_s / 3600.0)


class Score(NamedTuple):
    """Of one predictor at one horizon, in the column's unit; errors are forecast minus value."""

    predictor: str
    horizon_s: float
    rmse: float
    mae: float
    bias: float
    nrmse: float
    """RMSE over the standard deviation of the values forecast."""
    skill: float
    """1 - RMSE / RMSE of persistence."""
    crps: float
    coverage90: float
    dm_p: float
    """Diebold-Mariano p of equal mean squares against the predictor in question; NaN for itself."""
    brier: float
    """Of the forecast that the value is at the threshold or above; NaN without one."""
    n: int
    next_mean: float
    """Forecast from the end of the record; NaN if there can be none."""
    next_std: float


class Comparison(NamedTuple):
    """All scores, and what each predictor said on the way: rows (target index, mean, std) by predictor and horizon in cells."""

    scores: list[Score]
    forecasts: dict[str, dict[int, Floats]]
    first: int
    """Index of the first cell that a forecast was made from."""
    stride: int


def read_grid(path: Path, column: str, time: str, step_s: float | None) -> Grid:
    """Read *column* of a CSV and average it on a grid of *step_s*, or of the median time between two rows.

    Empty cells, nan, NA and the like are missing. Times are seconds or ISO 8601.

    Raises:
        DataError: says the line and what would be right; also for a record that is too short or needs too many cells.
    """
    _look_at_header(path, [time, column])
    texts = read_columns(path, [time, column])
    t_s = read_times(path, time, texts[time])
    if abs(t_s[-1]) > LATEST_S:
        raise DataError(f"{path}: the last time is {t_s[-1]:g} s, which is no date; if these are milliseconds, divide them by 1000")
    samples = [
        (when, number(path, line, column, text)) for line, (when, text) in enumerate(zip(t_s.tolist(), texts[column], strict=True), start=2)
        if text.lower() not in MISSING
    ]
    if not samples:
        raise DataError(f"{path}: column '{column}' holds no number")
    if step_s is None:
        step_s = float(np.median(np.diff(t_s))) if len(t_s) > 1 else 1.0
    cells = int(samples[-1][0] // step_s) - int(samples[0][0] // step_s) + 1
    if cells < LEAST_CELLS:
        raise DataError(
            f"{path}: spans {cells} cells of {step_s:g} s, and at least {LEAST_CELLS} are needed; give a longer record or a smaller --step"
        )
    if cells > MOST_CELLS:
        raise DataError(f"{path}: spans {cells} cells of {step_s:g} s, over {MOST_CELLS}; give a larger --step")
    if len(samples) < LEAST_SAMPLES:
        raise DataError(f"{path}: column '{column}' holds {len(samples)} numbers, and at least {LEAST_SAMPLES} are needed")
    series = SnrSeries(step_s, max_cells=cells)
    for when, value in samples:
        series.update(when, value)
    return Grid(series.values.copy(), series.first_cell, step_s, len(samples))


def _look_at_header(path: Path, names: Sequence[str]) -> None:
    """Refuse what would be told badly later on: other separators, and a column that is there twice.

    Raises:
        DataError: says what is wrong with the header.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline().strip()
    except (OSError, UnicodeDecodeError):
        return  # is told when the rest is read
    for separator, called in ((";", "semicolons"), ("\t", "tabs")):
        if separator in header and "," not in header:
            raise DataError(f"{path}, line 1: columns are separated by {called}; commas are needed, and points in numbers")
    cells = [cell.strip() for cell in next(csv.reader([header]), [])]
    for name in names:
        if cells.count(name) > 1:
            raise DataError(f"{path}, line 1: column '{name}' is there {cells.count(name)} times; keep one, or rename the others")


def compare(
    parts: dict[str, Predictor], grid: Grid, horizons: Sequence[int], history: float, main: str,
    done: Callable[[str], None] = lambda name: None, threshold: float | None = None,
) -> Comparison:
    """Score *parts* on the cells after the share *history* of the record, at *horizons* in cells; *main* is who p is told against.

    With a *threshold* they are also scored on whether the value will be at it or above.

    Calls *done* with the name of each predictor that is through. One of them has to be called persistence.

    Raises:
        DataError: no value is left to forecast at some horizon.
    """
    values = grid.values
    first = max(1, int(history * len(values)))
    stride = -(-(len(values) - first) // ORIGINS)
    forecasts, nexts = {}, {}
    for name, part in parts.items():
        forecasts[name] = rolling(part, values, first, horizons, stride=stride, first_cell=grid.first_cell)
        nexts[name] = _beyond(part, grid, horizons)
        done(name)
    scores = []
    for place, h in enumerate(horizons):
        gaps = {name: errors(values, found[h]) for name, found in forecasts.items()}
        yardstick = _rms(gaps["persistence"])
        if yardstick != yardstick:
            raise DataError(
                f"no value lies {h} cells of {grid.step_s:g} s after one of the last {1 - history:.0%} of the record; "
                "give a shorter --horizon or a smaller --history"
            )
        for name, gap in gaps.items():
            known = gap == gap
            own, (mean, std) = gap[known], forecasts[name][h][known, 1:].T
            spread = float((mean - own).std())
            p = math.nan if name == main else diebold_mariano(gaps[main], gap, -(-h // stride))
            ahead = nexts[name][place]
            scores.append(Score(
                name, h * grid.step_s, _rms(own), float(np.abs(own).mean()), float(own.mean()),
                _rms(own) / spread if spread else math.nan, 1.0 - _rms(own) / yardstick if yardstick else math.nan,
                float(crps(own, std).mean()), float(np.mean(np.abs(own) <= Z90 * std)), p,
                math.nan if threshold is None else brier(mean, std, mean - own, threshold), len(own), ahead.mean_db, ahead.std_db,
            ))
    return Comparison(scores, forecasts, first, stride)


def _beyond(part: Predictor, grid: Grid, horizons: Sequence[int]) -> list[Forecast]:
    """Forecasts from the end of the record; NaN where surroundings are known only as far as the record goes."""
    state = part.init()
    for index, value in enumerate(grid.values.tolist()):
        if value == value:
            part.update(state, (grid.first_cell + index + 0.5) * grid.step_s, value)
    found = []
    for ahead in horizons:
        try:
            said = part.predict(state, (grid.first_cell + len(grid.values) - 1 + ahead + 0.5) * grid.step_s)
        except DataError:
            said = None
        found.append(said or Forecast(math.nan, math.nan))
    return found


def _rms(gap: Floats) -> float:
    gap = gap[gap == gap]
    return math.sqrt(float(gap @ gap) / len(gap)) if len(gap) else math.nan
