"""The SNR stays what it was last.

Source: standard; the yardstick every skill score divides by.
"""

from __future__ import annotations

from typing import final

from toolkit.acoustic.prediction import Forecast, Predictor, Truth
from toolkit.acoustic.prediction.residuals import WINDOW_CELLS, last_value
from toolkit.acoustic.prediction.series import MarginDb, MaxCells, SnrSeries
from toolkit.core.work import Work


@final
class Persistence(Predictor):
    """Forecast the latest cell; the spread is that of past changes over as many cells."""

    margin_db: MarginDb = 3.0
    max_cells: MaxCells = 512

    def init(self, truth: Truth | None = None) -> SnrSeries:
        return SnrSeries(self.step_s, self.margin_db, self.max_cells)

    def update(self, state: SnrSeries, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        state.update(t_s, snr_db, censored)

    def predict(self, state: SnrSeries, at_s: float) -> Forecast | None:
        return state.forecast(at_s, lambda ahead: last_value(state, ahead))

    def work(self, state: SnrSeries) -> Work:
        """One subtraction, product and sum per past error."""
        errors = min(len(state), WINDOW_CELLS)
        return Work(3.0 * errors + 3.0, 8.0 * errors, 16.0)
