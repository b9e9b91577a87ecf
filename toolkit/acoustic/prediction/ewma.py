"""Exponentially weighted moving average: s = α·x + (1 - α)·s, forecast flat.

Source: standard; the kind of linear estimator of link quality that takes no notice of periods.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from pydantic import Field

from toolkit.acoustic.prediction import Forecast, Predictor, Truth
from toolkit.acoustic.prediction.residuals import WINDOW_CELLS, lagged_spread_db
from toolkit.acoustic.prediction.series import CellBuffer, MarginDb, MaxCells, SnrSeries
from toolkit.core.work import Work


@dataclass(slots=True)
class EwmaState:
    """The grid, and the smoothed level in dB after each finished cell (aligned with the grid's finished cells)."""

    series: SnrSeries
    levels: CellBuffer


@final
class Ewma(Predictor):
    """Forecast the smoothed level; a missing cell leaves it as it is."""

    alpha: float = Field(0.3, gt=0, le=1, description="weight of the newest cell")
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
            values, levels = state.series.values, state.levels.view()
            spread = lagged_spread_db(values, levels, cells - 1)
            return Forecast(self._level(state, state.series.latest_db), spread)

        return state.series.forecast(at_s, ahead)

    def work(self, state: EwmaState) -> Work:
        """The level, and one subtraction, product and sum per past error."""
        errors = min(len(state.levels), WINDOW_CELLS)
        return Work(3.0 * errors + 6.0, 16.0 * errors, 16.0)
