"""Rolling-origin evaluation of predictors on one series, with the scores that forecasts of a link are judged by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, stdtr

from toolkit.acoustic.prediction import Predictor

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


def rolling(predictor: Predictor, values: Floats, first: int, horizons: Sequence[int], *, stride: int = 1) -> dict[int, Floats]:
    """Feed *values* (cells, NaN missing) in order and forecast from every *stride*-th cell on from *first*.

    Returns, per horizon in cells, rows (target index, mean, std). Only `update` and `predict` are used, and a forecast is made before
    any later value is fed.
    """
    state = predictor.init()
    step_s = predictor.step_s
    rows: dict[int, list[tuple[float, float, float]]] = {h: [] for h in horizons}
    for index, value in enumerate(values.tolist()):
        if value == value:
            predictor.update(state, (index + 0.5) * step_s, value)
        if index < first or (index - first) % stride:
            continue
        for h in horizons:
            if index + h < len(values):
                forecast = predictor.predict(state, (index + h + 0.5) * step_s)
                if forecast is not None:
                    rows[h].append((float(index + h), forecast.mean_db, forecast.std_db))
    return {h: np.array(found).reshape(-1, 3) for h, found in rows.items()}


def errors(values: Floats, forecasts: Floats) -> Floats:
    """Forecast minus value; NaN where the value is missing."""
    return np.asarray(forecasts[:, 1] - values[forecasts[:, 0].astype(int)])


def evaluate(
    predictors: Mapping[str, Predictor], values: Floats, first: int, horizons: Sequence[int], *, stride: int = 1
) -> list[Score]:
    """Score predictors on the same origins; skill is against plain persistence on these origins."""
    scores = []
    for name, predictor in predictors.items():
        for h, forecasts in rolling(predictor, values, first, horizons, stride=stride).items():
            gap = errors(values, forecasts)
            known = gap == gap
            gap, std = gap[known], forecasts[known, 2]
            origins = forecasts[known, 0].astype(int) - h
            still = values[origins] - values[origins + h]
            persistence = math.sqrt(float(np.nanmean(still**2)))
            rmse = math.sqrt(float(np.mean(gap**2)))
            scores.append(Score(
                name, h * predictor.step_s, rmse, float(np.abs(gap).mean()), float(gap.mean()), 1.0 - rmse / persistence,
                float(crps(gap, std).mean()), float(np.mean(np.abs(gap) <= Z90 * std)), len(gap),
            ))
    return scores


def crps(error_db: Floats, std_db: Floats) -> Floats:
    """Continuous ranked probability score of a normal forecast in dB (Gneiting and Raftery 2007, eq. 5); |error| where std is 0."""
    scale = np.maximum(std_db, 1e-12)
    z = error_db / scale
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    return np.asarray(scale * (z * erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi)))


def diebold_mariano(first: Floats, second: Floats, horizon: int) -> float:
    """Two-sided p that two rows of errors at the same targets have the same mean square, with Harvey's small-sample correction."""
    loss = first**2 - second**2
    loss = loss[loss == loss]
    n = len(loss)
    centred = loss - loss.mean()
    variance = float(centred @ centred) / n
    for lag in range(1, min(horizon, n)):
        variance += 2.0 * float(centred[lag:] @ centred[:-lag]) / n
    if variance <= 0 or n < 3:
        return 1.0 if abs(loss.mean()) < 1e-12 else float("nan")
    correction = max((n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n, 1e-9)
    statistic = float(loss.mean()) / math.sqrt(variance / n) * math.sqrt(correction)
    return float(2.0 * stdtr(n - 1, -abs(statistic)))
