"""The spread of past errors, from which every rival of the kNN predictor takes its standard deviation.

A forecast h cells ahead made at cell i erred by x[i+h] minus what the method said at i. For methods whose past answers are a
simple row (the last value, a smoothed level, a value one season ago) the errors of the last `WINDOW_CELLS` cells are two slices
of two rows, which costs a few microseconds and keeps nothing. Errors of different h stay apart, as they grow with h.

Little history says little: the mean square is mixed with a prior worth one error of `PRIOR_STD_DB`.

Source: ours; rolling residual variances are standard. Departures: none.
"""

from __future__ import annotations

import math

import numpy as np

from toolkit.acoustic.prediction import Forecast
from toolkit.acoustic.prediction.series import Floats, SnrSeries

WINDOW_CELLS = 336
PRIOR_STD_DB = 6.0


def spread_db(errors: Floats) -> float:
    """Root mean square in dB of the errors that are not NaN, with the prior mixed in; for (n,) errors, n may be 0."""
    square = float(np.dot(errors, errors))
    count = len(errors)
    if square != square:  # some are missing
        known = errors[errors == errors]
        square, count = float(np.dot(known, known)), len(known)
    return math.sqrt((square + PRIOR_STD_DB**2) / (count + 1))


def lagged_spread_db(values: Floats, answers: Floats, ahead: int) -> float:
    """Spread of values[i+ahead] - answers[i] over the last cells; both rows (cells,) in dB, aligned at their ends."""
    count = min(len(values), len(answers)) - ahead
    if count <= 0:
        return PRIOR_STD_DB
    count = min(count, WINDOW_CELLS)
    end = len(answers) - ahead
    return spread_db(values[-count:] - answers[end - count : end])


def last_value(series: SnrSeries, ahead: int) -> Forecast:
    """Persistence: the latest cell, with the spread of past changes over *ahead* cells. What others answer when young."""
    values = series.values
    return Forecast(series.latest_db, lagged_spread_db(values, values, ahead))
