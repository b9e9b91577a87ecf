"""Exponentially weighted moving average: s = α·x + (1 - α)·s, forecast flat.

Source: standard; the kind of linear estimator of link quality that takes no notice of periods.
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
class EwmaState:
    """The grid, and the smoothed level in dB after each finished cell (aligned with the grid's finished cells)."""

    series: SnrSeries
    levels: CellBuffer


@final
class Ewma(Predictor):
    """Forecast the smoothed level; a missing cell leaves it as it is.

    With `carry` the distance of the newest cell from the level is carried on as far as it has lasted in the past.
    """

    alpha: float = Field(0.3, gt=0, le=1, description="weight of the newest cell")
    carry: bool = Field(True, description="carry on the share of the present misfit that past ones left after as long")
    margin_db: MarginDb = 3.0
    max_cells: MaxCells = 512

    def init(self, truth: Truth | None = None) -> EwmaState:
        return EwmaState(SnrSeries(self.step_s, self.margin_db, self.max_cells), CellBuffer(self.max_cells))

    def update(self, state: EwmaState, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        series, started, closing = state.series, state.series.samples > 0, state.series.latest_db
        opened = series.update(t_s, snr_db, censored)
        if opened and started:
            level = self._level(state, closing)
            for _ in range(min(opened, self.max_cells)):
                state.levels.append(level)

    def _level(self, state: EwmaState, newest_db: float) -> float:
        """The level with the newest cell in it, whether that cell is finished or not."""
        if not len(state.levels):
            return newest_db
        return float(self.alpha * newest_db + (1 - self.alpha) * state.levels.view()[-1])

    def predict(self, state: EwmaState, at_s: float) -> Forecast | None:
        def ahead(cells: int) -> Forecast:
            # Levels end one cell before the values do; a level says nothing more for the cell after it than for `cells` later.
            levels, level = state.levels.view(), self._level(state, state.series.latest_db)
            if self.carry:
                row = np.append(levels, level)
                return carried(state.series, row, row, cells)
            return Forecast(level, lagged_spread_db(state.series, levels, cells - 1))

        return state.series.forecast(at_s, ahead)

    def work(self, state: EwmaState) -> Work:
        """The level, and one subtraction, product and sum per past error; six more for the share that is carried on."""
        errors = min(len(state.levels), WINDOW_CELLS)
        return Work((9.0 if self.carry else 3.0) * errors + 6.0, 16.0 * errors, 16.0)
