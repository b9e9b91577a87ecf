"""Predictors compared on the end of a record.

Source: ours; scores as in `evaluate`. Departures: forecasts are made from at most `ORIGINS` cells, evenly spaced, lest a long record
take hours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from toolkit.acoustic.prediction import Forecast, Predictor
from toolkit.acoustic.prediction.evaluate import Z90, brier, crps, diebold_mariano, errors, rolling
from toolkit.acoustic.prediction.series import Floats
from toolkit.errors import DataError

ORIGINS = 600
"""Forecasts per horizon at most."""


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
    holm_p: float
    """The same, adjusted for the comparisons of this horizon (Holm)."""
    brier: float
    """Of the forecast that the value is at the threshold or above; NaN without one."""
    n: int
    fell_back: float
    """Share of the forecasts in which something simpler answered."""
    next_at_s: float
    """Middle of the cell that is forecast from the end of the record."""
    next_mean: float
    """Forecast from the end of the record; NaN if there can be none."""
    next_std: float
    next_fell_back: bool


class Comparison(NamedTuple):
    """All scores, and what each predictor said on the way: rows (target index, mean, std) by predictor and horizon in cells."""

    scores: list[Score]
    forecasts: dict[str, dict[int, Floats]]
    first: int
    """Index of the first cell that a forecast was made from."""
    stride: int


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjustment of p values (1979) that are looked at together; NaN stays and does not count."""
    known = sorted((p, index) for index, p in enumerate(p_values) if p == p)
    found = [math.nan] * len(p_values)
    least = 0.0
    for rank, (p, index) in enumerate(known):
        least = max(least, min(1.0, p * (len(known) - rank)))
        found[index] = least
    return found


def compare(
    parts: dict[str, Predictor], grid: Grid, horizons: Sequence[int], history: float, main: str, *,
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
        others = [name for name in gaps if name != main]
        p_values = {name: diebold_mariano(gaps[main], gaps[name], -(-h // stride)) for name in others}
        adjusted = dict(zip(others, holm(list(p_values.values())), strict=True))
        for name, gap in gaps.items():
            known = gap == gap
            own, (mean, std, fell) = gap[known], forecasts[name][h][known, 1:].T
            spread = float((mean - own).std())
            ahead = nexts[name][place]
            scores.append(Score(
                predictor=name, horizon_s=h * grid.step_s, rmse=_rms(own), mae=float(np.abs(own).mean()), bias=float(own.mean()),
                nrmse=_rms(own) / spread if spread else math.nan, skill=1.0 - _rms(own) / yardstick if yardstick else math.nan,
                crps=float(crps(own, std).mean()), coverage90=float(np.mean(np.abs(own) <= Z90 * std)),
                dm_p=p_values.get(name, math.nan), holm_p=adjusted.get(name, math.nan),
                brier=math.nan if threshold is None else brier(mean, std, mean - own, threshold), n=len(own),
                fell_back=float(fell.mean()), next_at_s=(grid.first_cell + len(values) - 1 + h + 0.5) * grid.step_s,
                next_mean=ahead.mean_db, next_std=ahead.std_db, next_fell_back=ahead.fell_back,
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
