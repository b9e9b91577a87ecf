"""The SNR is the mean of the last cells.

Source: standard. Departures: none; with a window as long as the history it is the mean of all that was heard.
"""

from __future__ import annotations

from typing import final

import numpy as np
from pydantic import Field

from toolkit.acoustic.prediction import Forecast, Predictor, Truth
from toolkit.acoustic.prediction.residuals import WINDOW_CELLS, carried, lagged_spread_db
from toolkit.acoustic.prediction.series import Floats, MarginDb, MaxCells, SnrSeries, span_cells
from toolkit.core.work import Work

MOST_CELLS = 2000


@final
class MovingAverage(Predictor):
    """Forecast the mean in dB of those of the last `window` cells that are not missing, or of what there is while the link is young."""

    window: int | None = Field(None, ge=1, le=2000, description="cells W that are averaged; or window_s")
    window_s: float = Field(10_800.0, gt=0, description="span that is averaged, where window is not given")
    carry: bool = Field(True, description="carry on the share of the present misfit that past ones left after as long")
    margin_db: MarginDb = 3.0
    max_cells: MaxCells = 512

    def init(self, truth: Truth | None = None) -> SnrSeries:
        return SnrSeries(self.step_s, self.margin_db, self.max_cells)

    def update(self, state: SnrSeries, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        state.update(t_s, snr_db, censored)

    def predict(self, state: SnrSeries, at_s: float) -> Forecast | None:
        def ahead(cells: int) -> Forecast:
            window = span_cells(self.window, self.window_s, self.step_s, MOST_CELLS)
            said = moving_means(state.values[-(WINDOW_CELLS + cells + window) :], window)
            if self.carry:
                return carried(state, said, said, cells)
            return Forecast(float(said[-1]), lagged_spread_db(state, said, cells))

        return state.forecast(at_s, ahead)

    def work(self, state: SnrSeries) -> Work:
        """One sum and difference per past mean, then one subtraction, product and sum per past error."""
        errors = min(len(state), WINDOW_CELLS)
        return Work((12.0 if self.carry else 6.0) * errors + 3.0, 16.0 * errors, 16.0)


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
