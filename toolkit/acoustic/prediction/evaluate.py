"""Rolling-origin evaluation of predictors on one series, with the scores that forecasts of a link are judged by.

A forecast is made after its origin's cell and before anything later is fed, with `update` and `predict` alone, so a predictor is
evaluated as a node would use it.

Source: standard; CRPS of a normal distribution after Gneiting and Raftery (2007), equal accuracy after Diebold and Mariano (1995) with
the correction of Harvey, Leybourne and Newbold (1997). Departures: none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, stdtr

from toolkit.acoustic.prediction import Predictor
from toolkit.acoustic.prediction.persistence import Persistence

Floats = NDArray[np.float64]
Z90 = 1.6448536269514722


class Score(NamedTuple):
    """Of one predictor at one horizon; errors are forecast minus value, in dB."""

    predictor: str
    horizon_s: float
    rmse_db: float
    mae_db: float
    bias_db: float
    skill: float
    """1 - RMSE / RMSE of persistence."""
    crps_db: float
    coverage90: float
    n: int
    fell_back: float
    """Share of the forecasts in which something simpler answered."""


def rolling(
    predictor: Predictor, values: Floats, first: int, horizons: Sequence[int], *, stride: int = 1, first_cell: int = 0
) -> dict[int, Floats]:
    """Feed *values* (cells, NaN missing) in order and forecast from every *stride*-th cell on from *first*.

    Returns, per horizon in cells, rows (target index, mean, std, 1 where the predictor fell back). Only `update` and `predict` are used,
    and a forecast is made before any later value is fed. *first_cell* is the absolute number of the first cell, for predictors that know
    the time.
    """
    state = predictor.init()
    step_s = predictor.step_s
    rows: dict[int, list[tuple[float, float, float, float]]] = {h: [] for h in horizons}
    for index, value in enumerate(values.tolist()):
        if value == value:
            predictor.update(state, (first_cell + index + 0.5) * step_s, value)
        if index < first or (index - first) % stride:
            continue
        for h in horizons:
            if index + h < len(values):
                forecast = predictor.predict(state, (first_cell + index + h + 0.5) * step_s)
                if forecast is not None:
                    rows[h].append((float(index + h), forecast.mean_db, forecast.std_db, float(forecast.fell_back)))
    return {h: np.array(found).reshape(-1, 4) for h, found in rows.items()}


def errors(values: Floats, forecasts: Floats) -> Floats:
    """Forecast minus value; NaN where the value is missing."""
    return np.asarray(forecasts[:, 1] - values[forecasts[:, 0].astype(int)])


def evaluate(
    predictors: Mapping[str, Predictor], values: Floats, first: int, horizons: Sequence[int], *, stride: int = 1
) -> list[Score]:
    """Score predictors on the same origins; skill is against persistence there (NaN where persistence makes no error)."""
    scores = []
    yardsticks: dict[float, dict[int, float]] = {}  # RMSE of persistence by grid step and horizon
    for name, predictor in predictors.items():
        if predictor.step_s not in yardsticks:
            still = rolling(Persistence(step_s=predictor.step_s), values, first, horizons, stride=stride)
            yardsticks[predictor.step_s] = {h: _rmse(errors(values, found)) for h, found in still.items()}
        for h, forecasts in rolling(predictor, values, first, horizons, stride=stride).items():
            gap = errors(values, forecasts)
            known = gap == gap
            gap, std = gap[known], forecasts[known, 2]
            if not len(gap):
                raise ValueError(f"no cell {h} cells after an origin is known from cell {first} on")
            rmse = _rmse(gap)
            persistence = yardsticks[predictor.step_s][h]
            scores.append(Score(
                predictor=name, horizon_s=h * predictor.step_s, rmse_db=rmse, mae_db=float(np.abs(gap).mean()), bias_db=float(gap.mean()),
                skill=1.0 - rmse / persistence if persistence else math.nan, crps_db=float(crps(gap, std).mean()),
                coverage90=float(np.mean(np.abs(gap) <= Z90 * std)), n=len(gap), fell_back=float(forecasts[known, 3].mean()),
            ))
    return scores


def _rmse(gap: Floats) -> float:
    """Root mean square of the errors that are known."""
    gap = gap[gap == gap]
    return math.sqrt(float(gap @ gap) / len(gap)) if len(gap) else math.nan


def crps(error_db: Floats, std_db: Floats) -> Floats:
    """Continuous ranked probability score of a normal forecast in dB (Gneiting and Raftery 2007, eq. 5); |error| where std is 0."""
    scale = np.maximum(std_db, 1e-12)
    z = error_db / scale
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    return np.asarray(scale * (z * erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi)))


def brier(mean_db: Floats, std_db: Floats, values_db: Floats, threshold_db: float) -> float:
    """Brier score of normal forecasts of the event that the value is at *threshold_db* or above, as of a frame that is decoded: (n,)."""
    said = 0.5 * (1.0 + erf((mean_db - threshold_db) / (np.maximum(std_db, 1e-12) * math.sqrt(2.0))))
    return float(np.mean((said - (values_db >= threshold_db)) ** 2))


def diebold_mariano(first: Floats, second: Floats, horizon: int) -> float:
    """Two-sided p that two rows of errors (n,) at the same targets have the same mean square.

    The variance of the mean loss takes in the h - 1 autocovariances that forecasts *horizon* = h cells ahead must have; where their sum
    is negative, which happens in short rows, the variance alone is taken. NaN with fewer than 3 pairs, 1 where no pair differs.
    """
    loss = first**2 - second**2
    loss = loss[loss == loss]
    n = len(loss)
    if n < 3:
        return math.nan
    centred = loss - loss.mean()
    alone = float(centred @ centred) / n
    variance = alone + 2.0 * sum(float(centred[lag:] @ centred[:-lag]) / n for lag in range(1, min(horizon, n)))
    if variance <= 0.0:
        variance, horizon = alone, 1
    if variance <= 0.0:
        return 1.0 if loss[0] == 0.0 else 0.0
    correction = max((n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n, 1e-9)
    statistic = float(loss.mean()) / math.sqrt(variance / n) * math.sqrt(correction)
    return float(2.0 * stdtr(n - 1, -abs(statistic)))
