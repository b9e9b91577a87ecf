"""Choosing a predictor's settings from the past alone, with the same budget for every method.

Each setting tried forecasts the later part of the past from the earlier one (rolling origin); what counts is the root mean square error
over that of persistence, averaged over the horizons. The defaults are always tried first, so a choice is never worse there than they are.
Spans are in seconds, so that the same settings are tried whatever the step.

Source: standard. Departures: settings are drawn at random from a list per method, by a stream of their own, so a run is a function of its
arguments.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from toolkit.acoustic.prediction import Predictor
from toolkit.acoustic.prediction.evaluate import errors, rolling
from toolkit.acoustic.prediction.persistence import Persistence
from toolkit.acoustic.prediction.series import Floats

EARLY = 0.7
"""Share of the past before the first forecast."""
ORIGINS = 120
"""Forecasts per horizon and setting at most."""
H = 3600.0
DAY, MOON_DAY = 86_400.0, 89_424.0
TIDES = (44_714.16, 43_200.0, 86_164.2, 92_949.5, 86_400.0)

Settings = dict[str, object]
SPACES: dict[str, dict[str, Sequence[object]]] = {
    "ewma": {"alpha": (0.1, 0.2, 0.3, 0.5, 0.7, 0.9), "carry": (True, False)},
    "holt": {"alpha": (0.3, 0.5, 0.8, 1.0), "beta": (0.0, 0.1, 0.3, 0.6), "damping": (0.8, 0.9, 0.97), "carry": (True, False)},
    "moving_average": {"window_s": (H, 3 * H, 6 * H, 24 * H, 1e9), "carry": (True, False)},
    "linear_regression": {"window_s": (3 * H, 12 * H, 36 * H, 96 * H), "carry": (True, False)},
    "kalman_level": {"level_step_db": (1.0,), "noise_db": (0.03, 0.1, 0.3, 0.6, 1.0, 2.0, 4.0)},
    "kalman_trend": {"slope_step_db": (0.003, 0.01, 0.03, 0.1, 0.3, 1.0), "noise_db": (0.03, 0.1, 0.3, 1.0)},
    "nlms": {"order_s": (3 * H, 6 * H, 12 * H, 26 * H), "mu": (0.02, 0.05, 0.1, 0.2, 0.5)},
    "rls": {"order_s": (1.0, 2 * H, 6 * H, 12 * H, 26 * H), "forgetting": (0.99, 0.997, 0.999, 0.9997, 1.0)},
    "ar": {"order_s": (1.0, 3 * H, 6 * H, 12 * H, 26 * H, 52 * H), "ridge": (1e-6, 1e-4, 1e-3, 1e-2, 1e-1)},
    "arma": {"p": (1, 2, 4, 8), "q": (0, 1, 2, 4), "ridge": (1e-6, 1e-4, 1e-2)},
    "seasonal_ar": {"order": (1, 2, 4, 8), "seasons_s": ((), (DAY,), (44_714.16,), (DAY, 44_714.16))},
    "seasonal_naive": {"periods_s": ((DAY,), (MOON_DAY,), (DAY, MOON_DAY), (44_714.16,)), "carry": (True, False)},
    "harmonic": {
        "level_step_db": (0.3, 1.0, 2.0), "noise_db": (0.1, 0.3, 1.0, 2.0), "pair_step_db": (0.0, 0.02, 0.05, 0.2), "harmonics": (1, 2, 4),
    },
    "harmonic_ls": {"ridge": (1e-5, 1e-3, 1e-1), "carry": (True, False)},
    "knn": {
        "window_s": (2 * H, 4 * H, 8 * H, 12 * H, 24 * H), "k": (5, 12, 20, 40), "mode": ("delta", "level", "local_linear"),
        "same_phase_s": ((), (DAY,), (DAY, MOON_DAY)), "phase_periods_s": ((), TIDES),
    },
    "knn_compressed": {"window_s": (3 * H, 6 * H, 12 * H, 24 * H), "segments": (3, 6, 12), "budget": (32, 64, 128), "k": (3, 5, 10)},
    "lags_and_phases": {"order_s": (3 * H, 12 * H, 26 * H, 50 * H), "same_phase_s": ((), (DAY,), (DAY, MOON_DAY))},
}
"""What is tried of each method; a method that is not here has nothing to choose."""


class Choice(NamedTuple):
    """The settings chosen, how many were tried, and the error over that of persistence: theirs and that of the defaults."""

    settings: Settings
    tried: int
    score: float
    default_score: float


def candidates(name: str, count: int) -> list[Settings]:
    """The defaults, and *count* - 1 other settings of the method, drawn without replacement (all, if there are fewer)."""
    space = SPACES.get(name, {})
    every = [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())] if space else []
    rng = np.random.default_rng(len(every))
    chosen = rng.permutation(len(every))[: max(0, count - 1)].tolist()
    return [{}, *(every[index] for index in chosen)]


def tune(
    name: str, build: Callable[[Settings], Predictor], values: Floats, horizons: Sequence[int], *, count: int, first_cell: int = 0
) -> Choice:
    """Choose among *count* settings by forecasts of the last part of *values* (cells, NaN missing), which are the past.

    *build* makes the predictor of some settings; settings that it refuses with a ValueError are passed over.
    """
    first = max(1, int(EARLY * len(values)))
    stride = max(1, -(-(len(values) - first) // ORIGINS))
    best: Choice | None = None
    default_score = math.nan
    tried = 0
    yardstick: list[float] = []
    for settings in candidates(name, count):
        try:
            part = build(settings)
        except ValueError:
            continue
        if not yardstick:
            yardstick = _rmse(Persistence(step_s=part.step_s), values, first, horizons, stride, first_cell)
        tried += 1
        found = _rmse(part, values, first, horizons, stride, first_cell)
        ratios = [mine / still for mine, still in zip(found, yardstick, strict=True) if still > 0 and mine == mine]
        score = float(np.mean(ratios)) if ratios else math.inf
        if not settings:
            default_score = score
        if best is None or score < best.score:
            best = Choice(settings, tried, score, default_score)
    if best is None:
        return Choice({}, 0, math.nan, math.nan)
    return best._replace(tried=tried, default_score=default_score)


def _rmse(part: Predictor, values: Floats, first: int, horizons: Sequence[int], stride: int, first_cell: int) -> list[float]:
    found = []
    for forecasts in rolling(part, values, first, horizons, stride=stride, first_cell=first_cell).values():
        gap = errors(values, forecasts)
        gap = gap[gap == gap]
        found.append(math.sqrt(float(gap @ gap) / len(gap)) if len(gap) else math.nan)
    return found
