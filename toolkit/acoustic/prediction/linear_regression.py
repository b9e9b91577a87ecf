"""A straight line through the last cells, drawn on into the future.

Source: standard. With cells j = 0 … W - 1 the least-squares line at cell W - 1 + h is a fixed weighted sum of them, w_j = 1 / W +
(W - 1 + h - mean(j)) (j - mean(j)) / sum (j - mean(j))^2. Departures: missing cells are read from the shared filling.
"""

from __future__ import annotations

from typing import final

import numpy as np
from pydantic import Field

from toolkit.acoustic.prediction import Forecast, Predictor, Truth
from toolkit.acoustic.prediction.residuals import WINDOW_CELLS, carried, fall_back, lagged_spread_db
from toolkit.acoustic.prediction.search import windows_of
from toolkit.acoustic.prediction.series import Floats, MarginDb, MaxCells, SnrSeries, span_cells
from toolkit.core.work import Work

MOST_CELLS = 2000


@final
class LinearRegression(Predictor):
    """Extrapolate the least-squares line on time through the last `window` cells; fewer while the link is young."""

    window: int | None = Field(None, ge=3, le=2000, description="cells W that the line is fitted to; or window_s")
    window_s: float = Field(259_200.0, gt=0, description="span of the line, where window is not given; hours overshoot at every turn")
    carry: bool = Field(True, description="carry on the share of the present misfit that past ones left after as long")
    margin_db: MarginDb = 3.0
    max_cells: MaxCells = 512

    def init(self, truth: Truth | None = None) -> SnrSeries:
        return SnrSeries(self.step_s, self.margin_db, self.max_cells)

    def update(self, state: SnrSeries, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        state.update(t_s, snr_db, censored)

    def predict(self, state: SnrSeries, at_s: float) -> Forecast | None:
        return state.forecast(at_s, lambda ahead: self._ahead(state, ahead))

    def _ahead(self, state: SnrSeries, ahead: int) -> Forecast:
        window = min(self._cells, len(state) // 2)
        if window < 3:
            return fall_back(state, ahead)
        past = state.filled[-(WINDOW_CELLS + ahead + window) :]
        windows = windows_of(past - past[-1], window)
        said = past[-1] + windows @ line_weights(window, ahead)
        if self.carry:
            return carried(state, past[-1] + windows @ line_weights(window, 0), said, ahead)
        return Forecast(float(said[-1]), lagged_spread_db(state, said, ahead))

    @property
    def _cells(self) -> int:
        return max(3, span_cells(self.window, self.window_s, self.step_s, MOST_CELLS))

    def work(self, state: SnrSeries) -> Work:
        """W multiply-adds for the forecast and for the answer that each past error is judged by."""
        errors = min(len(state), WINDOW_CELLS)
        lines = 2.0 if self.carry else 1.0
        return Work(2.0 * self._cells * lines * (errors + 1.0) + 9.0 * errors, 8.0 * (errors + self._cells), 16.0)


def line_weights(window: int, ahead: int) -> Floats:
    """What each of *window* cells, oldest first, adds to the line's value *ahead* cells after the last, (window,); they sum to 1."""
    place = np.arange(window) - (window - 1) / 2.0
    return np.asarray(1.0 / window + ((window - 1) / 2.0 + ahead) * place / float(place @ place), dtype=np.float64)
