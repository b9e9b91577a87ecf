"""ARMA(p, q): the next cell from the last cells and the last errors, run on recursively.

Source: Hannan and Rissanen (1982): a long autoregression gives the errors, then one regression on p values and q errors. Departures: no
third, bias-correcting stage; a ridge keeps short pasts stable, and roots outside the unit circle are scaled into it (`polynomials`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Self, final

import numpy as np
from pydantic import Field, model_validator
from scipy.linalg import solve_banded

from toolkit.acoustic.prediction import Forecast, Predictor, Truth
from toolkit.acoustic.prediction.polynomials import growth, run_on, shrunk
from toolkit.acoustic.prediction.residuals import fall_back, root_mean_square
from toolkit.acoustic.prediction.search import windows_of
from toolkit.acoustic.prediction.series import Floats, MarginDb, MaxCells, SnrSeries, span_cells, spread_of
from toolkit.core.work import Work

RECENT_CELLS = 192
"""Cells from which the last errors are worked out; what was before them is taken as 0."""
TINY = 1e-12
"""Least ridge, as a share of the mean diagonal."""
LARGEST_EXCESS = 1.2
"""How much wider than what its past forecasts erred by the model may be, once there are `ORIGINS` of them."""
ORIGINS = 96
"""Past forecasts that the floor of the spread is taken from."""


@dataclass(frozen=True, slots=True)
class ArmaFit:
    """Coefficients of the values (p,) and of the errors (q,), the mean, and the variance of one error."""

    centre_db: float
    values: Floats
    errors: Floats
    variance: float


@dataclass(slots=True)
class ArmaState:
    """The grid of one link, the fit (None: too little past) and the block of cells it was made for."""

    series: SnrSeries
    fit: ArmaFit | None = None
    block: int = -1
    fitted: bool = False
    """Whether the last forecast renewed the fit."""
    floors_db: dict[int, float] = field(default_factory=dict)
    """Per horizon in cells, what such forecasts erred by before the block."""
    tried: int = 0
    """Forecasts of the past that the last forecast made for such a floor."""


@final
class Arma(Predictor):
    """x[t] - c = sum a_i (x[t-i] - c) + e[t] + sum b_j e[t-j], forecast recursively with the coming errors 0.

    Fits are renewed every `refit_cells`. The spread grows with the horizon as the psi weights say, and is not below the root mean
    square error of the same forecast at the last `ORIGINS` origins, nor much above it, since a series that is no ARMA makes the model too
    sure of itself, or not sure enough. Missing cells are read from the shared filling.
    """

    p: int = Field(4, ge=1, le=200, description="cells")
    q: int = Field(2, ge=0, le=50, description="errors")
    long_order: int = Field(24, ge=1, le=400, description="order of the autoregression that gives the errors")
    ridge: float = Field(1e-4, ge=0, description="ridge penalty as a share of the mean diagonal of the normal equations")
    refit_cells: int | None = Field(None, ge=1, description="cells between two fits; or refit_s")
    refit_s: float = Field(43_200.0, gt=0, description="time between two fits, where refit_cells is not given")
    margin_db: MarginDb = 3.0
    max_cells: MaxCells = 2048

    @model_validator(mode="after")
    def _remembers(self) -> Self:
        if self._refit >= self.max_cells:
            raise ValueError(f"refit_cells: {self._refit} must be below max_cells = {self.max_cells}")
        return self

    @property
    def _refit(self) -> int:
        return span_cells(self.refit_cells, self.refit_s, self.step_s, self.max_cells // 2)

    def init(self, truth: Truth | None = None) -> ArmaState:
        return ArmaState(SnrSeries(self.step_s, self.margin_db, self.max_cells))

    def update(self, state: ArmaState, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        state.series.update(t_s, snr_db, censored)

    def predict(self, state: ArmaState, at_s: float) -> Forecast | None:
        return state.series.forecast(at_s, lambda ahead: self._ahead(state, ahead))

    def work(self, state: ArmaState) -> Work:
        """Price the last errors and the recursion; and, in the forecast that renews the fit, both regressions."""
        n, terms = float(len(state.series)), float(self.p + self.q)
        run = 2.0 * terms * min(n, RECENT_CELLS) + 2.0 * terms * (2.0 + state.tried)
        if not state.fitted:
            return Work(run, 8.0 * min(n, RECENT_CELLS), 16.0)
        long = min(float(self.long_order), n / 4.0)
        fit = 2.0 * n * (long**2 + terms**2) + 2.0 * (long**3 + terms**3) / 3.0 + 4.0 * n * (long + terms)
        return Work(run + fit, 8.0 * n * (long + terms), 8.0 * (long + terms) ** 2)

    def _ahead(self, state: ArmaState, ahead: int) -> Forecast:
        series = state.series
        block = series.last_cell // self._refit
        state.fitted = block != state.block
        past = series.filled[series.settled(block * self._refit, self.max_cells - self._refit)]
        if state.fitted:
            state.block, state.floors_db = block, {}
            state.fit = self._fit(past)
        fit = state.fit
        state.tried = 0
        if fit is None:
            return fall_back(series, ahead)
        if ahead not in state.floors_db:
            state.floors_db[ahead], state.tried = self._floor_db(fit, past - fit.centre_db, ahead)
        recent = series.filled[-RECENT_CELLS:] - fit.centre_db
        floor = state.floors_db[ahead]
        model = math.sqrt(fit.variance * growth(fit.values, fit.errors, ahead))
        spread = max(min(model, LARGEST_EXCESS * floor) if len(past) >= RECENT_CELLS + ORIGINS else model, floor)
        return Forecast(self._said(fit, recent, _errors(recent, fit), ahead) + fit.centre_db, spread)

    def _said(self, fit: ArmaFit, row: Floats, errors: Floats, ahead: int) -> float:
        """What the model says *ahead* cells after *row* (cells,), which ended with *errors*."""
        shocks = np.zeros(ahead)
        for step in range(min(ahead, self.q)):  # b_(step+1) is the first to meet an error that is known
            shocks[step] = fit.errors[step:] @ errors[-1 : -(self.q - step) - 1 : -1]
        return run_on(fit.values, row, shocks, ahead)

    def _floor_db(self, fit: ArmaFit, past: Floats, ahead: int) -> tuple[float, int]:
        """Root mean square error of forecasts at the last origins of *past* (cells,), less its mean, and how many these were."""
        past = past[-(RECENT_CELLS + ORIGINS + ahead) :]
        errors = np.concatenate([np.zeros(len(past)), _errors(past, fit)])[-len(past) :]
        least = self.p + 2 * self.q
        origins = range(max(least, len(past) - ahead - ORIGINS), len(past) - ahead)
        gaps = [past[i + ahead] - self._said(fit, past[: i + 1], errors[: i + 1], ahead) for i in origins]
        return (math.sqrt(float(np.mean(np.square(gaps)))) if gaps else 0.0), len(gaps)

    def _fit(self, values: Floats) -> ArmaFit | None:
        """Fit to the past (cells,); None with fewer than 8 equations more than coefficients."""
        long = min(self.long_order, len(values) // 4)
        terms = self.p + self.q
        start = long + max(self.p, self.q)
        if long < 1 or len(values) - start < terms + 8:
            return None
        centre = float(values.mean())
        row = values - centre
        errors = np.zeros(len(row))
        errors[long:] = row[long:] - windows_of(row, long)[:-1] @ self._solve(windows_of(row, long)[:-1], row[long:])
        lagged = [row[start - lag : len(row) - lag] for lag in range(1, self.p + 1)]
        lagged += [errors[start - lag : len(row) - lag] for lag in range(1, self.q + 1)]
        regressors = np.stack(lagged, axis=1)
        found = self._solve(regressors, row[start:])
        left = row[start:] - regressors @ found
        variance = root_mean_square(float(left @ left), len(left) - terms, spread_of(values)) ** 2
        return ArmaFit(centre, shrunk(found[: self.p]), -shrunk(-found[self.p :]), variance)

    def _solve(self, regressors: Floats, targets: Floats) -> Floats:
        gram = regressors.T @ regressors
        gram[np.diag_indices(len(gram))] += max(self.ridge, TINY) * float(np.trace(gram)) / len(gram) + np.finfo(float).tiny
        return np.asarray(np.linalg.solve(gram, regressors.T @ targets))


def _errors(row: Floats, fit: ArmaFit) -> Floats:
    """Errors e of the cells of *row* (cells,): the recursion solved for them, with nothing before the first p cells."""
    p, q = len(fit.values), len(fit.errors)
    if len(row) <= p:
        return np.zeros(max(len(row), q))
    right = row[p:] - windows_of(row, p)[:-1] @ fit.values[::-1]
    if q:
        bands = np.zeros((q + 1, len(right)))
        bands[0] = 1.0
        for lag in range(1, q + 1):
            bands[lag, : max(0, len(right) - lag)] = fit.errors[lag - 1]
        if len(right) > q:
            right = solve_banded((q, 0), bands, right)
    return np.concatenate([np.zeros(q), right])
