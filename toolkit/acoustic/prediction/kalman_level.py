"""Kalman filter of a local level: the SNR is a level that wanders, plus noise.

Source: Harvey (1989, ch. 2), F = 1: K = P / (P + r), P' = (1 - K) P + q. Departures: the ratio of the variances is a hyper-parameter, their
scale is fitted per horizon (`statespace`); a censored sample is entered as in the shared grid, not as a bound.
"""

from __future__ import annotations

import math
from typing import final

from pydantic import Field

from toolkit.acoustic.prediction import Forecast, Predictor, Truth
from toolkit.acoustic.prediction.residuals import WINDOW_CELLS
from toolkit.acoustic.prediction.series import MarginDb, MaxCells, SnrSeries
from toolkit.acoustic.prediction.statespace import FilterState, scale
from toolkit.core.work import Work

PRIOR_VARIANCE = 1e4


@final
class KalmanLevel(Predictor):
    """Forecast the filtered level. A missing cell is a step without a measurement, so the filter is less sure after it."""

    level_step_db: float = Field(1.0, ge=0, description="standard deviation of the level's step per cell")
    noise_db: float = Field(0.1, gt=0, description="standard deviation of a cell around the level; only the ratio counts")
    margin_db: MarginDb = 3.0
    max_cells: MaxCells = 512

    def init(self, truth: Truth | None = None) -> FilterState:
        return FilterState(SnrSeries(self.step_s, self.margin_db, self.max_cells), 2)

    def update(self, state: FilterState, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        series, started, closing = state.series, state.series.samples > 0, state.series.latest_db
        opened = series.update(t_s, snr_db, censored)
        if opened and started:
            level, variance = self._filtered(state, closing)
            for missing in range(min(opened, self.max_cells)):
                state.keep((level, variance + missing * self.level_step_db**2))

    def _filtered(self, state: FilterState, newest_db: float) -> tuple[float, float]:
        """Level and its variance with the newest cell in them, whether that cell is finished or not."""
        level, variance = (newest_db, PRIOR_VARIANCE) if not len(state.rows[0]) else state.newest()
        variance += self.level_step_db**2
        gain = variance / (variance + self.noise_db**2)
        return level + gain * (newest_db - level), (1.0 - gain) * variance

    def predict(self, state: FilterState, at_s: float) -> Forecast | None:
        def ahead(cells: int) -> Forecast:
            level, variance = self._filtered(state, state.series.latest_db)
            more = cells * self.level_step_db**2 + self.noise_db**2
            levels, variances = state.views()
            return Forecast(level, math.sqrt((variance + more) * scale(state.series, levels, variances + more, cells)))

        return state.series.forecast(at_s, ahead)

    def work(self, state: FilterState) -> Work:
        """One filter step; per past error a sum, a subtraction, a product and a quotient."""
        errors = min(len(state.rows[0]), WINDOW_CELLS)
        return Work(5.0 * errors + 10.0, 24.0 * errors, 16.0)
