"""The SNR is the mean of the last cells.

Source: standard. Departures: none; with a window as long as the history it is the mean of all that was heard.
"""

from __future__ import annotations

from typing import final

import numpy as np
from pydantic import Field

from toolkit.acoustic.prediction import Forecast, Predictor, Truth
from toolkit.acoustic.prediction.residuals import WINDOW_CELLS, lagged_spread_db
from toolkit.acoustic.prediction.series import Floats, MarginDb, MaxCells, SnrSeries
from toolkit.core.work import Work


@final
class MovingAverage(Predictor):
    """Forecast the mean in dB of those of the last `window` cells that are not missing, or of what there is while the link is young."""

    window: int = Field(6, ge=1, le=2000, description="cells W that are averaged")
    margin_db: MarginDb = 3.0
    max_cells: MaxCells = 512

    def init(self, truth: Truth | None = None) -> SnrSeries:
        return SnrSeries(self.step_s, self.margin_db, self.max_cells)

    def update(self, state: SnrSeries, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        state.update(t_s, snr_db, censored)

    def predict(self, state: SnrSeries, at_s: float) -> Forecast | None:
        def ahead(cells: int) -> Forecast:
            said = moving_means(state.values[-(WINDOW_CELLS + cells + self.window) :], self.window)
            return Forecast(float(said[-1]), lagged_spread_db(state.values, said, cells))

        return state.forecast(at_s, ahead)

    def work(self, state: SnrSeries) -> Work:
        """One sum and difference per past mean, then one subtraction, product and sum per past error."""
        errors = min(len(state), WINDOW_CELLS)
        return Work(6.0 * errors + 3.0, 16.0 * errors, 16.0)


def moving_means(values: Floats, window: int) -> Floats:
    """Mean of each cell and the *window* - 1 before it, (cells,), over those that are not NaN; NaN where there are none."""
    known = values == values
    base = float(values[-1])  # sums of differences to the latest cell keep a constant constant to the last digit
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, values - base, 0.0))])
    counts = np.concatenate([[0.0], np.cumsum(known)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    count = counts[ends] - counts[starts]
    return np.asarray(base + (sums[ends] - sums[starts]) / np.where(count > 0.0, count, np.nan))
