"""One ridge regression per horizon on the last cells, the same phase of earlier days and tides, and the periods themselves.

Source: standard parts put together (direct multi-step regression; Hoerl and Kennard 1970 for the ridge); a small model of what it leaves
by boosted trees (LightGBM, Ke et al. 2017) can be added. Departures: the ridge is chosen from the past, by forecasts of its last quarter
with coefficients of the first three; the number of trees likewise.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self, final

import numpy as np
from pydantic import Field, model_validator

from toolkit.acoustic.prediction import Forecast, Predictor, Truth
from toolkit.acoustic.prediction.harmonic_ls import PERIODS_S
from toolkit.acoustic.prediction.lagged_features import LaggedFeatures
from toolkit.acoustic.prediction.residuals import WINDOW_CELLS, fall_back, root_mean_square
from toolkit.acoustic.prediction.series import Floats, MarginDb, MaxCells, SnrSeries, cells_of, span_cells, spread_of
from toolkit.core.bounds import Positive
from toolkit.core.work import Work

RIDGES = 10.0 ** np.arange(-7.0, 1.0)
"""Penalties tried, as shares of the mean diagonal of the normal equations."""
MOST_LAGS = 160
LEAST_ROWS = 24
DAILY_MULTIPLES = (2, 3, 4)
TREE_DEPTH = 3
TREE_LAGS, TREE_ROWS = 6, 4000
"""Of the last cells, and of the past, so many at most are shown to the trees."""
LEAST_GAIN = 0.995
"""Trees must leave less than this share of the squared errors."""


Trees = Callable[[Floats, int | None], Floats]
"""What a tree model says of features (n, p) with its first so many trees, or all: (n,)."""


@dataclass(frozen=True, slots=True)
class LaggedFit:
    """Of one horizon: features, level and unit of the series, coefficients, the spread, and the trees that correct the line."""

    features: LaggedFeatures
    level_db: float
    scale_db: float
    means: Floats
    """Of the features (columns,)."""
    coefficients: Floats
    intercept_db: float
    std_db: float
    trees: Trees | None
    rows: int

    def at(self, row: Floats, first_cell: int) -> float:
        """The forecast from the end of *row* (cells,) in dB, whose first cell has the absolute number *first_cell*."""
        columns = self.features.at(row - self.level_db, len(row) - 1, self.scale_db, first_cell)[-1]
        said = self.level_db + self.intercept_db + float((columns - self.means) @ self.coefficients)
        if self.trees is not None:
            branches = self.features.few(TREE_LAGS)
            said += self.scale_db * float(self.trees((columns[branches] / self.scale_db)[None], None)[0])
        return said


@dataclass(slots=True)
class LagsAndPhasesState:
    """The grid of one link and the fits by horizon in cells (None: too little past), each with the block it was made for."""

    series: SnrSeries
    fits: dict[int, tuple[int, LaggedFit | None]] = field(default_factory=dict)
    fitted: LaggedFit | None = None
    """The fit that the last forecast renewed."""


@final
class LagsAndPhases(Predictor):
    """x[i+h] as a linear function of x[i], x[i-1], …, of values one day or two tides before the target, and of known periods.

    A season enters once the past holds two and a half of it. Fits are renewed every `refit_s`, per horizon that is asked for. The spread
    is the root mean square error of the forecasts by which the ridge was chosen. Missing cells are read from the shared filling; missing
    targets are left out.
    """

    order: int | None = Field(None, ge=1, le=500, description="last cells that count; or order_s")
    order_s: float = Field(93_600.0, gt=0, description="span of those cells, where order is not given; at most 160 cells")
    same_phase_s: tuple[Positive, ...] = Field((86_400.0, 89_424.0), description="lags before the target: one day, two M2 tides")
    periods_s: tuple[Positive, ...] = Field(PERIODS_S, description="periods; halves, thirds and quarters of a day are added")
    boosted_trees: int = Field(0, ge=0, le=1000, description="at most so many boosted trees correct the line; needs LightGBM")
    refit_s: float = Field(86_400.0, gt=0, description="time between two fits")
    margin_db: MarginDb = 3.0
    max_cells: MaxCells = 2048

    @model_validator(mode="after")
    def _can_boost(self) -> Self:
        if self.boosted_trees and importlib.util.find_spec("lightgbm") is None:
            raise ValueError("boosted_trees needs lightgbm, which is not installed: pip install 'toolkit[boost]'")
        return self

    @property
    def _refit(self) -> int:
        return span_cells(None, self.refit_s, self.step_s, self.max_cells // 2)

    @cached_property
    def turns(self) -> tuple[float, ...]:
        """Radians per cell of each period that the grid can tell."""
        periods = [*self.periods_s, *(86_400.0 / n for n in DAILY_MULTIPLES)]
        # A period of less than three cells cannot be told from others, and the half day may be there as S2 already.
        kept = [p for index, p in enumerate(periods) if p >= 3.0 * self.step_s and not any(abs(p - q) < 60.0 for q in periods[:index])]
        return tuple(2.0 * math.pi * self.step_s / p for p in kept)

    def init(self, truth: Truth | None = None) -> LagsAndPhasesState:
        return LagsAndPhasesState(SnrSeries(self.step_s, self.margin_db, self.max_cells))

    def update(self, state: LagsAndPhasesState, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        state.series.update(t_s, snr_db, censored)

    def predict(self, state: LagsAndPhasesState, at_s: float) -> Forecast | None:
        return state.series.forecast(at_s, lambda ahead: self._ahead(state, ahead))

    def work(self, state: LagsAndPhasesState) -> Work:
        """Price one row of features; and, where the fit was renewed, both fits.

        Per fit 2 n p^2 for the normal equations, 9 p^3 for their eigenvalues, and the trials; trees look at n p values per level.
        """
        order = span_cells(self.order, self.order_s, self.step_s, MOST_LAGS)
        p = float(order + 3 * len(self.same_phase_s) + 2 * len(self.turns))
        once = 2.0 * p + 20.0 * len(self.turns) + TREE_DEPTH * self.boosted_trees
        if state.fitted is None:
            return Work(once, 16.0 * p, 16.0)
        n, p = float(state.fitted.rows), float(state.fitted.features.width)
        fit = 2.0 * (2.0 * n * p**2 + 9.0 * p**3) + 2.0 * len(RIDGES) * n * p + 20.0 * n * len(self.turns)
        fit += 2.0 * self.boosted_trees * TREE_DEPTH * n * p
        return Work(once + fit, 24.0 * n * p, 8.0 * p * (p + n))

    def _ahead(self, state: LagsAndPhasesState, ahead: int) -> Forecast:
        series = state.series
        block = series.last_cell // self._refit
        known = state.fits.get(ahead)
        state.fitted = None
        if known is None or known[0] != block:
            place = series.settled(block * self._refit, self.max_cells - self._refit)
            fit = self._fit(series.values[place], series.filled[place], series.first_cell + place.start, ahead)
            known = state.fits[ahead] = (block, fit)
            state.fitted = fit
        fit = known[1]
        if fit is None or len(series) <= fit.features.reach:
            return fall_back(series, ahead)
        return Forecast(fit.at(series.filled, series.first_cell), fit.std_db)

    def _fit(self, values: Floats, filled: Floats, first_cell: int, ahead: int) -> LaggedFit | None:
        """Fit to the past (cells,); None if there is too little of it."""
        count = len(values)
        order = min(span_cells(self.order, self.order_s, self.step_s, MOST_LAGS), max(1, (count - ahead) // 3))
        seasons = tuple(dict.fromkeys(cells_of(lag_s, self.step_s) for lag_s in self.same_phase_s))
        seasons = tuple(season for season in seasons if 2.5 * season + ahead <= count)
        features = LaggedFeatures(order, seasons, self.turns, ahead)
        first = features.reach
        if count - ahead - first < LEAST_ROWS:
            return None
        level, scale = float(filled.mean()), spread_of(filled) or 1.0
        columns = features.at(filled[: count - ahead] - level, first, scale, first_cell)
        targets = values[first + ahead :] - level
        known = targets == targets
        columns, targets = columns[known], targets[known]
        rows = len(targets)
        if rows < LEAST_ROWS:
            return None
        early = rows - max(8, rows // 4) - min(ahead, rows // 8)  # targets of the first part end before the second begins
        late = rows - max(8, rows // 4)
        means, mean = columns[:early].mean(axis=0), float(targets[:early].mean())
        read = _ridge_path(columns[:early] - means, targets[:early] - mean)
        trials = np.stack([targets[late:] - mean - (columns[late:] - means) @ read(ridge) for ridge in RIDGES])
        best = int(np.argmin(np.einsum("ij,ij->i", trials, trials)))
        errors = trials[best]
        trees = None
        if self.boosted_trees:
            left = targets[:early] - mean - (columns[:early] - means) @ read(RIDGES[best])
            branches = features.few(TREE_LAGS)
            trees, number = self._trees(columns[:early, branches] / scale, left / scale, columns[late:, branches] / scale, errors / scale)
            if trees is not None:
                errors = errors - scale * trees(columns[late:, branches] / scale, number)
        means, mean = columns.mean(axis=0), float(targets.mean())
        coefficients = _ridge_path(columns - means, targets - mean)(RIDGES[best])
        if trees is not None:
            left = targets - mean - (columns - means) @ coefficients
            trees = _boost(columns[:, branches] / scale, left / scale, number)
        recent = errors[-WINDOW_CELLS:]
        std = root_mean_square(float(recent @ recent), len(recent), spread_of(filled))
        return LaggedFit(features, level, scale, means, coefficients, mean, std, trees, rows)

    def _trees(self, features: Floats, left: Floats, later: Floats, left_later: Floats) -> tuple[Trees | None, int]:
        """The number of trees, in quarters of what is allowed, that leaves least of the later errors; None if that is 0."""
        trees = _boost(features, left, self.boosted_trees)
        best, chosen = float(left_later @ left_later) * LEAST_GAIN, 0
        for number in range(max(1, self.boosted_trees // 4), self.boosted_trees + 1, max(1, self.boosted_trees // 4)):
            gap = left_later - trees(later, number)
            if float(gap @ gap) < best:
                best, chosen = float(gap @ gap), number
        return (trees if chosen else None), chosen


def _ridge_path(columns: Floats, targets: Floats) -> Callable[[float], Floats]:
    """Ridge regression (n, p) -> (p,) for any penalty, from one eigendecomposition; both centred."""
    values, vectors = np.linalg.eigh(columns.T @ columns)
    values = np.maximum(values, 0.0)
    turned = vectors.T @ (columns.T @ targets)
    mean = float(values.mean()) + float(np.finfo(float).tiny)
    return lambda ridge: np.asarray(vectors @ (turned / (values + ridge * mean)))


def _boost(features: Floats, targets: Floats, number: int) -> Trees:
    """*number* small boosted trees; one thread and no randomness, so that a fit is a function of its data."""
    import lightgbm

    features, targets = features[-TREE_ROWS:], targets[-TREE_ROWS:]
    settings = {
        "objective": "regression", "num_leaves": 2**TREE_DEPTH, "max_depth": TREE_DEPTH, "learning_rate": 0.08, "min_data_in_leaf": 20,
        "lambda_l2": 1.0, "num_threads": 1, "deterministic": True, "force_row_wise": True, "seed": 0, "verbosity": -1, "max_bin": 63,
    }
    booster = lightgbm.train(settings, lightgbm.Dataset(features, targets), number)
    return lambda rows, first: np.asarray(booster.predict(rows, num_iteration=first))
