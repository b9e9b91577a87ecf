"""The SNR is what it was one period ago.

Source: standard. With more than one period (24 h, and 24.84 h, which is two M2 tides) the values found are averaged.
Departures: a lag is rounded to whole cells (24.84 h at half-hour steps is taken as 25 h).
"""

from __future__ import annotations

from typing import final

import numpy as np
from pydantic import Field

from toolkit.acoustic.prediction import Forecast, Predictor, Truth
from toolkit.acoustic.prediction.residuals import WINDOW_CELLS, fall_back, lagged_spread_db, weighed
from toolkit.acoustic.prediction.series import Floats, MarginDb, MaxCells, SnrSeries, cells_of
from toolkit.core.bounds import Positive
from toolkit.core.work import Work


@final
class SeasonalNaive(Predictor):
    """Forecast the mean of the values one period before the target, or a few periods before if that is to come or missing.

    With `carry` the distance of the newest cell from the value one period before it is carried on as far as it has lasted in the past,
    and the season counts as much as it was worth there.
    """

    periods_s: tuple[Positive, ...] = Field((86400.0,), min_length=1, description="periods; (86400, 89424) adds two M2 tides")
    carry: bool = Field(True, description="carry on the share of the present misfit that past ones left after as long")
    max_cells: MaxCells = 2048
    margin_db: MarginDb = 3.0

    def init(self, truth: Truth | None = None) -> SnrSeries:
        return SnrSeries(self.step_s, self.margin_db, self.max_cells)

    def update(self, state: SnrSeries, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        state.update(t_s, snr_db, censored)

    def predict(self, state: SnrSeries, at_s: float) -> Forecast | None:
        return state.forecast(at_s, lambda ahead: self._ahead(state, ahead))

    def _ahead(self, state: SnrSeries, ahead: int) -> Forecast:
        values = state.values
        known = (self._known(values, cells_of(period_s, self.step_s), ahead) for period_s in self.periods_s)
        places = [place for place in known if place is not None]
        if not places:
            return fall_back(state, ahead)
        said = sum((_lagged(values, lag - ahead) for lag in places), np.zeros(len(values))) / len(places)
        if self.carry:
            now = sum((_lagged(values, lag) for lag in places), np.zeros(len(values))) / len(places)
            return weighed(state, now, said, ahead)
        return Forecast(float(said[-1]), lagged_spread_db(state, said, ahead))

    def _known(self, values: Floats, period: int, ahead: int) -> int | None:
        """The least multiple of *period* cells that reaches back from the target to a cell that is known; None if there is none."""
        lag = -(-ahead // period) * period
        while lag - ahead < len(values):
            value = values[ahead - lag - 1]
            if value == value:
                return lag
            lag += period
        return None

    def work(self, state: SnrSeries) -> Work:
        """Per past error and period a sum, then one subtraction, product and sum."""
        errors = min(len(state), WINDOW_CELLS)
        return Work((9.0 + 2.0 * len(self.periods_s)) * errors + 3.0, 8.0 * errors * (1 + len(self.periods_s)), 16.0)


def _lagged(values: Floats, back: int) -> Floats:
    """The value *back* cells before each cell (cells,); NaN where the history does not reach."""
    found = np.full(len(values), np.nan)
    found[back:] = values[: len(values) - back]
    return found
