"""Feeding a predictor one sample per cell, and asking it whole cells ahead."""

from __future__ import annotations

from toolkit.acoustic.prediction import Forecast, Predictor

STEP_S = 1800.0


def fed(part: Predictor, values):
    """State after *values* (cells, NaN missing)."""
    state = part.init()
    for index, value in enumerate(values):
        if value == value:
            part.update(state, (index + 0.5) * part.step_s, float(value))
    return state


def ask(part: Predictor, state, cells: int, ahead: int) -> Forecast:
    """Forecast *ahead* cells after the last of *cells*."""
    return part.predict(state, (cells - 1 + ahead + 0.5) * part.step_s)


def after(part: Predictor, values, ahead: int) -> Forecast:
    """Forecast *ahead* cells after *values*."""
    return ask(part, fed(part, values), len(values), ahead)
