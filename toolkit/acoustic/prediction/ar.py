"""Autoregression: the SNR ahead as a linear function of the last cells, one fit per horizon.

Source: standard (direct multi-step least squares with a ridge; leave-one-out residuals from the diagonal of the hat matrix).
Departures: the order is shortened to half the past while the past is short; the mean is that of the past and is not penalised.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from pydantic import Field

from toolkit.acoustic.prediction import Forecast, Predictor, Truth
from toolkit.acoustic.prediction.residuals import fall_back, root_mean_square
from toolkit.acoustic.prediction.series import Floats, MarginDb, MaxCells, SnrSeries, span_cells, spread_of
from toolkit.core.work import Work

MOST_CELLS = 160
TINY = 1e-12
"""Least ridge, as a share of the mean diagonal."""


@dataclass(frozen=True, slots=True)
class ArFit:
    """Coefficients of one horizon, fitted on the cells before *block*."""

    block: int
    centre_db: float
    coefficients: Floats
    std_db: float


@dataclass(slots=True)
class ArState:
    """The grid of one link and the fits by horizon in cells (None: too little past), each with the block it was made for."""

    series: SnrSeries
    fits: dict[int, tuple[int, ArFit | None]] = field(default_factory=dict)
    fitted: bool = False
    """Whether the last forecast renewed a fit."""


@final
class Ar(Predictor):
    """AR(p) by direct least squares per horizon: x[i+h] - c = sum_j a_j (x[i-j] - c), with a ridge that keeps short pasts stable.

    An order that spans a day sees tides and daily noise, which makes this the strong linear rival. Fits are renewed every
    `refit_s`. The spread is that of the leave-one-out residuals of the fit. Missing cells are read from the shared filling.
    """

    order: int | None = Field(None, ge=1, le=500, description="cells p that the forecast is a function of; or order_s")
    order_s: float = Field(93_600.0, gt=0, description="span of those cells, where order is not given; at most 160 cells")
    ridge: float = Field(1e-3, ge=0, description="ridge penalty as a share of the mean diagonal of the normal equations")
    refit_cells: int | None = Field(None, ge=1, description="cells between two fits; or refit_s")
    refit_s: float = Field(43_200.0, gt=0, description="time between two fits, where refit_cells is not given")
    margin_db: MarginDb = 3.0
    max_cells: MaxCells = 2048

    @property
    def _order(self) -> int:
        return span_cells(self.order, self.order_s, self.step_s, MOST_CELLS)

    @property
    def _refit(self) -> int:
        return span_cells(self.refit_cells, self.refit_s, self.step_s, self.max_cells // 2)

    def init(self, truth: Truth | None = None) -> ArState:
        return ArState(SnrSeries(self.step_s, self.margin_db, self.max_cells))

    def update(self, state: ArState, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        state.series.update(t_s, snr_db, censored)

    def predict(self, state: ArState, at_s: float) -> Forecast | None:
        return state.series.forecast(at_s, lambda ahead: self._ahead(state, ahead))

    def work(self, state: ArState) -> Work:
        """Price p multiply-adds; and, in the forecast that renews a fit, the fit.

        That is 2 n p^2 for the normal equations, 2 p^3 / 3 to factor them, 2 p^2 to solve for each of n + 1 right-hand sides (the rows
        too, for the leave-one-out residuals), and 2 n p for those residuals and for the leverages each.
        """
        n = float(len(state.series))
        p = float(min(self._order, max(1, len(state.series) // 2)))
        if not state.fitted:
            return Work(2.0 * p, 16.0 * p, 16.0)
        fit = 2.0 * n * p**2 + 2.0 * p**3 / 3.0 + 2.0 * p**2 * (n + 1.0) + 4.0 * n * p
        return Work(2.0 * p + fit, 16.0 * p + 24.0 * n * p, 16.0 + 8.0 * p * (p + n))

    def _ahead(self, state: ArState, ahead: int) -> Forecast:
        series = state.series
        block = series.last_cell // self._refit
        known = state.fits.get(ahead)
        state.fitted = known is None or known[0] != block
        if known is None or state.fitted:
            past = series.filled[series.settled(block * self._refit, self.max_cells - self._refit)]
            known = (block, self._fit(block, past, ahead))
            state.fits[ahead] = known
        fit = known[1]
        if fit is None or len(series) < len(fit.coefficients):
            return fall_back(series, ahead)
        recent = series.filled[-len(fit.coefficients) :] - fit.centre_db
        return Forecast(float(fit.coefficients @ recent) + fit.centre_db, fit.std_db)

    def _fit(self, block: int, values: Floats, ahead: int) -> ArFit | None:
        """Ridge regression of the values *ahead* cells later on windows of p cells; None with fewer than 8 equations."""
        p = min(self._order, max(1, (len(values) - ahead) // 2))
        rows = len(values) - p + 1 - ahead
        if rows < 8:
            return None
        centre = float(values.mean())
        regressors = sliding_window_view(values - centre, p)[:rows]
        targets = values[p - 1 + ahead :] - centre
        gram = regressors.T @ regressors
        penalty = max(self.ridge, TINY) * float(np.trace(gram)) / p + np.finfo(float).tiny
        gram[np.diag_indices(p)] += penalty
        solved = np.linalg.solve(gram, np.concatenate([regressors.T, (regressors.T @ targets)[:, None]], axis=1))
        coefficients = solved[:, -1]
        leverage = np.minimum(np.einsum("ij,ji->i", regressors, solved[:, :-1]), 0.95)
        residuals = (targets - regressors @ coefficients) / (1.0 - leverage)
        return ArFit(block, centre, coefficients, root_mean_square(float(residuals @ residuals), rows, spread_of(values)))
