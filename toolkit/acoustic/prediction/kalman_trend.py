"""Kalman filter of a local linear trend: a level and a slope that both wander, plus noise.

Source: Harvey (1989, ch. 2), F = [[1, 1], [0, 1]]. Departures: the ratios of the variances are hyper-parameters, their scale is fitted per
horizon (`statespace`). With the default steps the slope is that of about a day; a slope that follows hours overshoots at every turn.
"""

from __future__ import annotations

import math
from typing import final

import numpy as np
from pydantic import Field

from toolkit.acoustic.prediction import Forecast, Predictor, Truth
from toolkit.acoustic.prediction.residuals import WINDOW_CELLS
from toolkit.acoustic.prediction.series import Floats, MarginDb, MaxCells, SnrSeries
from toolkit.acoustic.prediction.statespace import FilterState, scale
from toolkit.core.work import Work

PRIOR_LEVEL_VARIANCE, PRIOR_SLOPE_VARIANCE = 1e4, 1.0


@final
class KalmanTrend(Predictor):
    """Forecast level + h slope. A missing cell is a step without a measurement, so the filter is less sure after it."""

    level_step_db: float = Field(1.0, ge=0, description="standard deviation of the level's step per cell")
    slope_step_db: float = Field(0.01, ge=0, description="standard deviation of the slope's step per cell")
    noise_db: float = Field(0.1, gt=0, description="standard deviation of a cell around the level; only ratios count")
    margin_db: MarginDb = 3.0
    max_cells: MaxCells = 512

    def init(self, truth: Truth | None = None) -> FilterState:
        return FilterState(SnrSeries(self.step_s, self.margin_db, self.max_cells), 5)

    def update(self, state: FilterState, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        series, started, closing = state.series, state.series.samples > 0, state.series.latest_db
        opened = series.update(t_s, snr_db, censored)
        if opened and started:
            numbers = self._filtered(state, closing)
            state.keep(numbers)
            for _ in range(min(opened, self.max_cells) - 1):
                numbers = self._step(*numbers)
                state.keep(numbers)

    def _step(self, level: float, slope: float, p00: float, p01: float, p11: float) -> tuple[float, float, float, float, float]:
        """One cell on without a measurement: F x and F P F' + Q."""
        return level + slope, slope, p00 + 2.0 * p01 + p11 + self.level_step_db**2, p01 + p11, p11 + self.slope_step_db**2

    def _filtered(self, state: FilterState, newest_db: float) -> tuple[float, float, float, float, float]:
        """Level, slope and their covariance with the newest cell in them, whether that cell is finished or not."""
        young = not len(state.rows[0])
        before = [newest_db, 0.0, PRIOR_LEVEL_VARIANCE, 0.0, PRIOR_SLOPE_VARIANCE] if young else state.newest()
        level, slope, p00, p01, p11 = self._step(*before)
        total = p00 + self.noise_db**2
        gain, gain_slope = p00 / total, p01 / total
        gap = newest_db - level
        return level + gain * gap, slope + gain_slope * gap, (1.0 - gain) * p00, (1.0 - gain) * p01, p11 - gain_slope * p01

    def _variance(self, p00: Floats | float, p01: Floats | float, p11: Floats | float, cells: int) -> Floats | float:
        """H F^h P F'^h H' + the steps of h cells + r: a slope's step at cell j is read h - j times."""
        steps = cells * self.level_step_db**2 + self.slope_step_db**2 * (cells - 1) * cells * (2 * cells - 1) / 6.0
        return p00 + 2.0 * cells * p01 + cells**2 * p11 + steps + self.noise_db**2

    def predict(self, state: FilterState, at_s: float) -> Forecast | None:
        def ahead(cells: int) -> Forecast:
            level, slope, p00, p01, p11 = self._filtered(state, state.series.latest_db)
            levels, slopes, *then = state.views()
            expected = np.asarray(self._variance(then[0], then[1], then[2], cells))
            factor = scale(state.series, levels + cells * slopes, expected, cells)
            return Forecast(level + cells * slope, math.sqrt(float(self._variance(p00, p01, p11, cells)) * factor))

        return state.series.forecast(at_s, ahead)

    def work(self, state: FilterState) -> Work:
        """One filter step; per past error eight operations for the variance and the answer, four for the error."""
        errors = min(len(state.rows[0]), WINDOW_CELLS)
        return Work(12.0 * errors + 40.0, 48.0 * errors, 16.0)
