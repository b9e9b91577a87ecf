"""Mine: a predictor to begin with. It goes part of the way back from the last value to the mean of the last hours.

    toolkit check ./mine.py
    toolkit predict SERIES.csv --predictor mine
    toolkit simulate SCENARIO.yaml --set fabric.routing.prediction=mine        with this file beside the scenario
"""

from __future__ import annotations

from typing import final

import numpy as np
from pydantic import Field

from toolkit.acoustic.prediction import Forecast, Predictor, Truth
from toolkit.acoustic.prediction.moving_average import moving_means
from toolkit.acoustic.prediction.residuals import WINDOW_CELLS, lagged_spread_db
from toolkit.acoustic.prediction.series import MarginDb, MaxCells, SnrSeries
from toolkit.core.work import Work


@final
class Mine(Predictor):
    """Forecast ``weight`` x last value + (1 - ``weight``) x mean of the last `cells` values, for every horizon.

    Settings are fields like these, with bounds and a description. The state of a link is a grid of cells of `step_s`, which averages the
    samples in each, and draws a line over cells in which nothing was heard.
    """

    weight: float = Field(0.6, ge=0, le=1, description="how much of the last value is kept")
    cells: int = Field(8, ge=1, le=500, description="values that are averaged")
    margin_db: MarginDb = 3.0
    max_cells: MaxCells = 512

    def init(self, truth: Truth | None = None) -> SnrSeries:
        """Return the state of one link, of which nothing is known yet. Only an oracle looks at *truth*."""
        return SnrSeries(self.step_s, self.margin_db, self.max_cells)

    def update(self, state: SnrSeries, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        """Feed one sample; a censored one says that a frame was due and not heard."""
        state.update(t_s, snr_db, censored)

    def predict(self, state: SnrSeries, at_s: float) -> Forecast | None:
        """Forecast the SNR at a time to come; None while nothing was heard."""

        def ahead(cells: int) -> Forecast:
            """What is expected so many cells after the last, with how far off such forecasts were in the past."""
            values = state.values[-(WINDOW_CELLS + cells + self.cells) :]
            means = moving_means(values, self.cells)
            said = np.where(np.isnan(values), means, self.weight * values + (1 - self.weight) * means)
            return Forecast(float(said[-1]), lagged_spread_db(state, said, cells))

        return state.forecast(at_s, ahead)

    def work(self, state: SnrSeries) -> Work:
        """What one `predict` asks of the node's processor: operations, bytes read, bytes written."""
        count = min(len(state), WINDOW_CELLS)
        return Work(flops=9.0 * count + 3.0, read_bytes=24.0 * count, write_bytes=16.0 * count)
