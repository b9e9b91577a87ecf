"""A straight line through the last cells, drawn on into the future.

Source: standard. With cells j = 0 … W - 1 the least-squares line at cell W - 1 + h is a fixed weighted sum of them, w_j = 1 / W +
(W - 1 + h - mean(j)) (j - mean(j)) / sum (j - mean(j))^2. Departures: missing cells are read from the shared filling.
"""

from __future__ import annotations

from typing import final

import numpy as np
from pydantic import Field

from toolkit.acoustic.prediction import Forecast, Predictor, Truth
from toolkit.acoustic.prediction.residuals import WINDOW_CELLS, lagged_spread_db, last_value
from toolkit.acoustic.prediction.search import windows_of
from toolkit.acoustic.prediction.series import Floats, MarginDb, MaxCells, SnrSeries
from toolkit.core.work import Work


@final
class LinearRegression(Predictor):
    """Extrapolate the least-squares line on time through the last `window` cells; fewer while the link is young."""

    window: int = Field(72, ge=3, le=2000, description="cells W that the line is fitted to; a line over hours overshoots at every turn")
    margin_db: MarginDb = 3.0
    max_cells: MaxCells = 512

    def init(self, truth: Truth | None = None) -> SnrSeries:
        return SnrSeries(self.step_s, self.margin_db, self.max_cells)

    def update(self, state: SnrSeries, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        state.update(t_s, snr_db, censored)

    def predict(self, state: SnrSeries, at_s: float) -> Forecast | None:
        return state.forecast(at_s, lambda ahead: self._ahead(state, ahead))

    def _ahead(self, state: SnrSeries, ahead: int) -> Forecast:
        window = min(self.window, len(state) // 2)
        if window < 3:
            return last_value(state, ahead)
        past = state.filled[-(WINDOW_CELLS + ahead + window) :]
        said = past[-1] + windows_of(past - past[-1], window) @ line_weights(window, ahead)
        return Forecast(float(said[-1]), lagged_spread_db(state.values, said, ahead))

    def work(self, state: SnrSeries) -> Work:
        """W multiply-adds for the forecast and for the answer that each past error is judged by."""
        errors = min(len(state), WINDOW_CELLS)
        return Work(2.0 * self.window * (errors + 1.0) + 3.0 * errors, 8.0 * (errors + self.window), 16.0)


def line_weights(window: int, ahead: int) -> Floats:
    """What each of *window* cells, oldest first, adds to the line's value *ahead* cells after the last, (window,); they sum to 1."""
    place = np.arange(window) - (window - 1) / 2.0
    return np.asarray(1.0 / window + ((window - 1) / 2.0 + ahead) * place / float(place @ place), dtype=np.float64)
