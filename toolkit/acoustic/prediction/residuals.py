"""The spread of past errors, from which every rival of the kNN predictor takes its standard deviation.

A forecast h cells ahead made at cell i erred by x[i+h] minus what the method said at i. For methods whose past answers are a
simple row (the last value, a smoothed level, a value one season ago) the errors of the last `WINDOW_CELLS` cells are two slices
of two rows, which costs a few microseconds and keeps nothing. Errors of different h stay apart, as they grow with h.

Little history says little: the mean square is mixed with an error as large as the series is wide, which weighs less the more there are.

A method that takes no notice of the latest cell (a mean, a tide table) errs at short horizons by what it errs at present. `carried`
adds to its forecast the share of the present misfit that was left of earlier ones after as many cells, found by least squares.

Source: ours; rolling residual variances and the correction of a forecast by its last error are standard. Departures: none.
"""

from __future__ import annotations

import math

import numpy as np

from toolkit.acoustic.prediction import Forecast
from toolkit.acoustic.prediction.series import YOUNG_CELLS, Floats, SnrSeries

WINDOW_CELLS = 336
MANY = 96
"""From so many errors on their tails are known."""
MOST_HELD = 0.96
Z90 = 1.6448536269514722
CARRY_PRIOR = 4.0
"""Misfits as large as the present ones that speak for carrying nothing on."""
LARGEST_CARRY = 2.0


def root_mean_square(square: float, count: float, prior_db: float) -> float:
    """Root in dB of the mean of *count* squared errors that sum to *square*, with one of *prior_db* that soon counts for nothing."""
    weight = (YOUNG_CELLS / (YOUNG_CELLS + count)) ** 2
    return math.sqrt((square + weight * prior_db**2) / (count + weight))


def spread_db(errors: Floats, prior_db: float) -> float:
    """Root mean square in dB of the errors that are not NaN, with one of *prior_db* mixed in; for (n,) errors, n may be 0."""
    square = float(np.dot(errors, errors))
    count = len(errors)
    if square != square:  # some are missing
        errors = errors[errors == errors]
        square, count = float(np.dot(errors, errors)), len(errors)
    spread = root_mean_square(square, count, prior_db)
    return spread if count < MANY else min(spread, widest(errors))


def widest(errors: Floats) -> float:
    """The spread of which a 90 % interval holds the share `MOST_HELD` of *errors* (n,).

    Errors that swing like a tide have no tails: 1.64 times their root mean square is more than any of them.
    """
    place = int(MOST_HELD * len(errors))
    return float(np.partition(np.abs(errors), place)[place]) / Z90


def lagged_spread_db(series: SnrSeries, answers: Floats, ahead: int) -> float:
    """Spread of x[i+ahead] - answers[i] over the last cells; *answers* (cells,) in dB end where the series does."""
    return spread_db(lagged_errors(series.values, answers, ahead), series.scale_db)


def lagged_errors(values: Floats, answers: Floats, ahead: int) -> Floats:
    """x[i+ahead] - answers[i] over the last cells, oldest first; both rows (cells,) aligned at their ends."""
    count = min(min(len(values), len(answers)) - ahead, WINDOW_CELLS)
    if count <= 0:
        return np.empty(0)
    end = len(answers) - ahead
    return np.asarray(values[-count:] - answers[end - count : end])


def carried(series: SnrSeries, now: Floats, said: Floats, ahead: int) -> Forecast:
    """A forecast of a method that made *now* of each cell (cells,) and *said* in it (cells,) what comes *ahead* cells later.

    Both rows end where the series does, their last elements are those of the latest cell. NaN where the method had no answer.
    """
    values = series.values
    errors = lagged_errors(values, said, ahead)
    count = len(errors)
    end = min(len(values), len(now)) - ahead
    misfits = values[len(values) - ahead - count : len(values) - ahead] - now[len(now) - ahead - count : len(now) - ahead]
    present = float(values[-1] - now[-1])
    share = 0.0
    if end > 0 and present == present:
        known = (errors == errors) & (misfits == misfits)
        pairs, then = errors[known], misfits[known]
        square = float(then @ then)
        share = float(then @ pairs) / (square * (1.0 + CARRY_PRIOR / max(len(then), 1)) + np.finfo(float).tiny)
        share = min(max(share, -LARGEST_CARRY), LARGEST_CARRY)
        errors = errors - share * np.where(misfits == misfits, misfits, 0.0)
    else:
        present = 0.0
    return Forecast(float(said[-1]) + share * present, spread_db(errors, series.scale_db))


def weighed(series: SnrSeries, now: Floats, said: Floats, ahead: int) -> Forecast:
    """As `carried`, but what the method says counts only as much as it was worth in the past, at the target and at present.

    The forecast is level + a (said - level) + b (now - level) + c (x - level) by least squares over the last cells.
    """
    values = series.values
    level = float(np.nanmean(values))
    count = len(lagged_errors(values, said, ahead))
    end = len(values) - ahead
    rows = np.stack([said - level, now - level, values - level], axis=1)
    targets = values[len(values) - count :] - level
    columns = rows[end - count : end]
    known = (targets == targets) & (columns == columns).all(axis=1)
    targets, columns = targets[known], columns[known]
    n = len(targets)
    if not n or not np.isfinite(rows[-1]).all():
        return carried(series, now, said, ahead)
    gram = columns.T @ columns
    ridge = np.diag(gram) * CARRY_PRIOR / n + float(np.trace(gram)) * 1e-9 + np.finfo(float).tiny
    prior = np.array([1.0, 0.0, 0.0])  # little past speaks for the method as it is
    weights = np.linalg.solve(gram + np.diag(ridge), columns.T @ targets + ridge * prior)
    return Forecast(level + float(rows[-1] @ weights), spread_db(targets - columns @ weights, series.scale_db))


def last_value(series: SnrSeries, ahead: int) -> Forecast:
    """Persistence: the latest cell, with the spread of past changes over *ahead* cells."""
    return Forecast(series.latest_db, lagged_spread_db(series, series.values, ahead))


def fall_back(series: SnrSeries, ahead: int) -> Forecast:
    """What a method answers that cannot be applied yet: the latest cell, marked as no forecast of its own."""
    return last_value(series, ahead)._replace(fell_back=True)
