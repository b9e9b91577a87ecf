"""Harmonic least squares: a mean and one sinusoid per known period, fitted to all that was heard.

Source: standard (tidal harmonic analysis). Departures: a small ridge on the amplitudes, since a few days cannot tell M2 from S2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self, final

import numpy as np
from pydantic import Field, model_validator

from toolkit.acoustic.prediction import Forecast, Predictor, Truth
from toolkit.acoustic.prediction.residuals import WINDOW_CELLS, carried, fall_back, root_mean_square
from toolkit.acoustic.prediction.series import Floats, MarginDb, MaxCells, SnrSeries, span_cells, spread_of
from toolkit.core.bounds import Positive
from toolkit.core.work import Work

PERIODS_S = (44_714.16, 43_200.0, 86_164.2, 92_949.5, 86_400.0, 22_357.08)
"""M2, S2, K1, O1, the solar day, and M4."""


@dataclass(slots=True)
class HarmonicLsState:
    """The grid of one link; mean and amplitudes (1 + 2 periods,) in dB (None: too little past), their residual, and the block."""

    series: SnrSeries
    amplitudes: Floats | None = None
    std_db: float = 0.0
    block: int = -1
    fitted: bool = False
    """Whether the last forecast renewed the fit."""


@final
class HarmonicLs(Predictor):
    """Read the fitted curve at the target. It forgets nothing within the history.

    With `carry` the distance of the newest cell from the curve is carried on as far as it has lasted in the past, and the spread is
    that of such forecasts; without, the last few cells count no more than others and the spread is the residual of the fit at every
    horizon. Fits are renewed every `refit_s`; missing cells are left out.
    """

    periods_s: tuple[Positive, ...] = Field(PERIODS_S, min_length=1, description="periods")
    ridge: float = Field(1e-3, ge=0, description="ridge penalty of the amplitudes per cell of history")
    carry: bool = Field(True, description="carry on the share of the present misfit that past ones left after as long")
    refit_cells: int | None = Field(None, ge=1, description="cells between two fits; or refit_s")
    refit_s: float = Field(43_200.0, gt=0, description="time between two fits, where refit_cells is not given")
    margin_db: MarginDb = 3.0
    max_cells: MaxCells = 4096

    @model_validator(mode="after")
    def _remembers(self) -> Self:
        if self._refit >= self.max_cells:
            raise ValueError(f"refit_cells: {self._refit} must be below max_cells = {self.max_cells}")
        return self

    @property
    def _refit(self) -> int:
        return span_cells(self.refit_cells, self.refit_s, self.step_s, self.max_cells // 2)

    def init(self, truth: Truth | None = None) -> HarmonicLsState:
        return HarmonicLsState(SnrSeries(self.step_s, self.margin_db, self.max_cells))

    def update(self, state: HarmonicLsState, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        state.series.update(t_s, snr_db, censored)

    def predict(self, state: HarmonicLsState, at_s: float) -> Forecast | None:
        return state.series.forecast(at_s, lambda ahead: self._ahead(state, ahead))

    def work(self, state: HarmonicLsState) -> Work:
        """Price a sum over the sinusoids, ten operations for the sine of each; and, when the fit is renewed, the normal equations."""
        terms = 1.0 + 2.0 * len(self.periods_s)
        curve = 1.0 + (min(len(state.series), WINDOW_CELLS) if self.carry else 0.0)
        if not state.fitted:
            return Work(12.0 * terms * curve, 8.0 * terms * curve, 16.0)
        n = float(len(state.series))
        return Work(n * (10.0 * terms + 2.0 * terms**2) + terms**3, 8.0 * n * terms, 8.0 * terms**2)

    @cached_property
    def _turns(self) -> Floats:
        """Radians per cell of each period."""
        return 2.0 * np.pi * self.step_s / np.array(self.periods_s)

    def _columns(self, cells: Floats) -> Floats:
        """1, cosines and sines at absolute *cells* (n,): (n, 1 + 2 periods)."""
        angle = np.multiply.outer(cells, self._turns)
        return np.concatenate([np.ones((len(cells), 1)), np.cos(angle), np.sin(angle)], axis=1)

    def _ahead(self, state: HarmonicLsState, ahead: int) -> Forecast:
        series = state.series
        block = series.last_cell // self._refit
        state.fitted = block != state.block
        if state.fitted:
            state.block = block
            self._fit(state, series.settled(block * self._refit, self.max_cells - self._refit))
        if state.amplitudes is None:
            return fall_back(series, ahead)
        if not self.carry:
            return Forecast(float((self._columns(np.array([float(series.last_cell + ahead)])) @ state.amplitudes)[0]), state.std_db)
        count = min(len(series), WINDOW_CELLS + ahead)
        curve = self._columns(np.arange(series.last_cell - count + 1, series.last_cell + ahead + 1, dtype=np.float64)) @ state.amplitudes
        return carried(series, curve[:count], curve[ahead:], ahead)

    def _fit(self, state: HarmonicLsState, place: slice) -> None:
        """Fit to those cells at *place* that are not missing; to nothing while they are fewer than twice the unknowns."""
        values = state.series.values[place]
        known = values == values
        cells = (state.series.first_cell + place.start + known.nonzero()[0]).astype(np.float64)
        values = values[known]
        columns = self._columns(cells)
        n, terms = columns.shape
        state.amplitudes = None
        if n < 2 * terms:
            return
        centre = float(values.mean())
        gram = columns.T @ columns
        gram[np.diag_indices(terms)] += np.append(1e-9, np.full(terms - 1, self.ridge * n))
        found = np.linalg.solve(gram, columns.T @ (values - centre))
        left = values - centre - columns @ found
        found[0] += centre
        state.amplitudes = found
        state.std_db = root_mean_square(float(left @ left), n - terms, spread_of(values))
