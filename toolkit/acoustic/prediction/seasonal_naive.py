"""The SNR is what it was one period ago.

Source: standard. With more than one period (24 h, and 24.84 h, which is two M2 tides) the values found are averaged.
Departures: a lag is rounded to whole cells (24.84 h at half-hour steps is taken as 25 h).
"""

from __future__ import annotations

from typing import final

import numpy as np
from pydantic import Field

from toolkit.acoustic.prediction import Forecast, Predictor, Truth
from toolkit.acoustic.prediction.residuals import WINDOW_CELLS, last_value, spread_db
from toolkit.acoustic.prediction.series import Floats, MarginDb, MaxCells, SnrSeries, cells_of
from toolkit.core.work import Work


@final
class SeasonalNaive(Predictor):
    """Forecast the mean of the values one period before the target, or a few periods before if that is still to come."""

    periods_s: tuple[float, ...] = Field((86400.0,), min_length=1, description="periods; (86400, 89424) adds two M2 tides")
    max_cells: MaxCells = 512
    margin_db: MarginDb = 3.0

    def init(self, truth: Truth | None = None) -> SnrSeries:
        return SnrSeries(self.step_s, self.margin_db, self.max_cells)

    def update(self, state: SnrSeries, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        state.update(t_s, snr_db, censored)

    def predict(self, state: SnrSeries, at_s: float) -> Forecast | None:
        return state.forecast(at_s, lambda ahead: self._ahead(state, ahead))

    def _ahead(self, state: SnrSeries, ahead: int) -> Forecast:
        values = state.values
        # The smallest whole number of periods that reaches back to the present or before it.
        lags = [-(-ahead // lag) * lag for lag in (cells_of(p, self.step_s) for p in self.periods_s)]
        found = [(lag, value) for lag in lags if lag - ahead < len(values) and (value := values[ahead - lag - 1]) == value]
        if not found:
            return last_value(state, ahead)
        mean = sum(value for _, value in found) / len(found)
        return Forecast(float(mean), _season_spread_db(values, [lag for lag, _ in found]))

    def work(self, state: SnrSeries) -> Work:
        """Per past error and period a sum, then one subtraction, product and sum."""
        errors = min(len(state), WINDOW_CELLS)
        return Work((3.0 + len(self.periods_s)) * errors + 3.0, 8.0 * errors * (1 + len(self.periods_s)), 16.0)


def _season_spread_db(values: Floats, lags: list[int]) -> float:
    """Spread of x[i] less the mean of x[i-lag]: the error of the same answer in the past, whatever the horizon was."""
    count = min(len(values) - max(lags), WINDOW_CELLS)
    if count <= 0:
        return spread_db(np.empty(0))
    said = sum((values[len(values) - lag - count : len(values) - lag] for lag in lags), np.zeros(count)) / len(lags)
    return spread_db(values[-count:] - said)
