"""What adaptive filters (NLMS, RLS) share: weights per stored horizon that every finished cell corrects.

When cell t is finished, the window that ended h cells before it is asked what it would have said of t, and the weights of horizon h move
along the gain of that window: w_h += K[t - h] (x[t] - c - w_h'u[t - h]). Values are taken less the mean c of what had been heard by then.
Training happens in `update`, so nothing depends on what is asked. A horizon that is not stored is answered by the nearest
stored one, which is marked as falling back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field

from toolkit.acoustic.prediction import Forecast
from toolkit.acoustic.prediction.residuals import fall_back, root_mean_square
from toolkit.acoustic.prediction.series import Floats, SnrSeries
from toolkit.core.bounds import Positive

FADES = np.array([1.0 - 1.0 / 96.0, 1.0 - 1.0 / 336.0])
"""How much of the mean square of past errors is left after a cell, in a short memory and in a long one; the larger of the two counts."""
LARGEST_WEIGHT = 1e3
"""Weights beyond this have diverged; they start again from persistence."""

HorizonsS = Annotated[tuple[Positive, ...], Field(min_length=1, description="stored horizons")]
STORED_S = (1800.0, 3600.0, 10_800.0, 21_600.0)


class Window(NamedTuple):
    """A window that ended at a finished cell: its values less the mean (order,), the mean, and the gain that it was given (order,)."""

    values: Floats
    centre_db: float
    gain: Floats
    said: Floats
    """What the weights made of it then, (horizons,) in dB; the spread is that of these forecasts, not of weights that know more."""


@dataclass(slots=True)
class AdaptiveState:
    """The grid, the weights (horizons, order), the fading squares of past errors (memories, horizons), and the last windows."""

    series: SnrSeries
    horizons: tuple[int, ...]
    order: int
    weights: Floats = field(init=False)
    squares: Floats = field(init=False)
    counts: Floats = field(init=False)
    windows: deque[Window | None] = field(init=False)
    """Of the last finished cells, newest last; None where a cell was missing or the link too young."""
    heard: int = 0
    centre_db: float = 0.0
    """Mean of the finished cells that were heard."""

    def __post_init__(self) -> None:
        self.weights = np.zeros((len(self.horizons), self.order))
        self.weights[:, -1] = 1.0  # the newest cell alone: persistence
        self.squares, self.counts = np.zeros((2, len(self.horizons))), np.zeros((2, len(self.horizons)))
        self.windows = deque(maxlen=max(self.horizons))


def update(state: AdaptiveState, t_s: float, snr_db: float, censored: bool, gain: Callable[[Floats], Floats]) -> None:
    """Feed a sample; every cell that it finishes corrects the weights. *gain* (order,) -> (order,) is asked once per window, in order."""
    series, started = state.series, state.series.samples > 0
    opened = series.update(t_s, snr_db, censored)
    if not opened or not started:
        return
    values = series.filled
    end = len(values) - opened  # the cells before it are finished; gaps among them are bridged for good
    if end > 0:
        _learn(state, values[:end], gain)
    for _ in range(min(opened - 1, max(state.horizons))):
        state.windows.append(None)


def _learn(state: AdaptiveState, values: Floats, gain: Callable[[Floats], Floats]) -> None:
    value = float(values[-1])
    for index, ahead in enumerate(state.horizons):
        then = state.windows[-ahead] if len(state.windows) >= ahead else None
        if then is None:
            continue
        error = value - then.centre_db - float(state.weights[index] @ then.values)
        state.squares[:, index] = FADES * state.squares[:, index] + (value - float(then.said[index])) ** 2
        state.counts[:, index] = FADES * state.counts[:, index] + 1.0
        state.weights[index] += then.gain * error
        if not np.abs(state.weights[index]).max() < LARGEST_WEIGHT:
            state.weights[index] = 0.0
            state.weights[index, -1] = 1.0
    state.heard += 1
    state.centre_db += (value - state.centre_db) / state.heard
    if len(values) < state.order:
        state.windows.append(None)
        return
    window = values[-state.order :] - state.centre_db
    said = state.centre_db + state.weights @ window
    state.windows.append(Window(window, state.centre_db, gain(window), said))


def forecast(state: AdaptiveState, ahead: int) -> Forecast:
    """What the weights of the nearest stored horizon make of the latest window, with the spread of their past errors.

    An answer of another horizon than was asked for is marked as falling back.

    The answer stays within the range of the kept cells: weights that have not settled would leave it.
    """
    values = state.series.filled
    if len(values) < state.order:
        return fall_back(state.series, ahead)
    index = min(range(len(state.horizons)), key=lambda place: abs(state.horizons[place] - ahead))
    elsewhere = state.horizons[index] != ahead
    said = state.centre_db + float(state.weights[index] @ (values[-state.order :] - state.centre_db))
    spread = max(
        root_mean_square(float(square), float(count), state.series.scale_db)
        for square, count in zip(state.squares[:, index], state.counts[:, index], strict=True)
    )
    return Forecast(min(max(said, float(values.min())), float(values.max())), spread, elsewhere)
