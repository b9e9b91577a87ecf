"""Holt's linear method with a damped trend: a level and a slope, both smoothed.

Source: Holt (1957); damping after Gardner and McKenzie (1985): l = a x + (1 - a)(l' + phi b'), b = beta (l - l') + (1 - beta) phi b',
forecast l + (phi + … + phi^h) b. Departures: a missing cell takes the forecast for its value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from pydantic import Field

from toolkit.acoustic.prediction import Forecast, Predictor, Truth
from toolkit.acoustic.prediction.residuals import WINDOW_CELLS, carried, lagged_spread_db
from toolkit.acoustic.prediction.series import CellBuffer, MarginDb, MaxCells, SnrSeries
from toolkit.core.work import Work


@dataclass(slots=True)
class HoltState:
    """The grid, and level (dB) and slope (dB per cell) after each finished cell, aligned with the grid's finished cells."""

    series: SnrSeries
    levels: CellBuffer
    slopes: CellBuffer


@final
class Holt(Predictor):
    """Forecast the smoothed level plus the damped slope; `damping` = 1 without `carry` is Holt's own method."""

    alpha: float = Field(0.5, gt=0, le=1, description="weight of the newest cell in the level")
    beta: float = Field(0.1, ge=0, le=1, description="weight of the newest change in the slope")
    damping: float = Field(0.9, gt=0, le=1, description="phi: what is left of the slope after a cell")
    carry: bool = Field(True, description="carry on the share of the present misfit that past ones left after as long")
    margin_db: MarginDb = 3.0
    max_cells: MaxCells = 512

    def init(self, truth: Truth | None = None) -> HoltState:
        return HoltState(SnrSeries(self.step_s, self.margin_db, self.max_cells), CellBuffer(self.max_cells), CellBuffer(self.max_cells))

    def update(self, state: HoltState, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        series, started, closing = state.series, state.series.samples > 0, state.series.latest_db
        opened = series.update(t_s, snr_db, censored)
        if not opened or not started:
            return
        level, slope = self._smoothed(state, closing)
        for _ in range(min(opened, self.max_cells)):
            state.levels.append(level)
            state.slopes.append(slope)
            slope *= self.damping  # for the next cell, if it is missing
            level += slope

    def _smoothed(self, state: HoltState, newest_db: float) -> tuple[float, float]:
        """Level and slope with the newest cell in them, whether that cell is finished or not."""
        if not len(state.levels):
            return newest_db, 0.0
        before, slope = float(state.levels.view()[-1]), self.damping * float(state.slopes.view()[-1])
        level = self.alpha * newest_db + (1.0 - self.alpha) * (before + slope)
        return level, self.beta * (level - before) + (1.0 - self.beta) * slope

    def _reach(self, cells: int) -> float:
        """What a slope adds up to: phi + … + phi^cells."""
        if self.damping == 1.0:
            return float(cells)
        return self.damping * (1.0 - self.damping**cells) / (1.0 - self.damping)

    def predict(self, state: HoltState, at_s: float) -> Forecast | None:
        def ahead(cells: int) -> Forecast:
            level, slope = self._smoothed(state, state.series.latest_db)
            reach = self._reach(cells)
            said = state.levels.view() + reach * state.slopes.view()  # ends one cell before the values do
            if self.carry:
                return carried(state.series, np.append(state.levels.view(), level), np.append(said, level + reach * slope), cells)
            return Forecast(level + reach * slope, lagged_spread_db(state.series, said, cells - 1))

        return state.series.forecast(at_s, ahead)

    def work(self, state: HoltState) -> Work:
        """Level and slope; two operations per past answer, and one subtraction, product and sum per past error."""
        errors = min(len(state.levels), WINDOW_CELLS)
        return Work((11.0 if self.carry else 5.0) * errors + 12.0, 24.0 * errors, 16.0)
