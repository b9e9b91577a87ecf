"""Recursive least squares with forgetting.

Source: standard (Haykin 2002, ch. 9): K = P u / (lambda + u'P u), w += K e, P = (P - K u'P) / lambda, P_0 = c I.
Departures: c is `START` over the mean square of the first window, so that the unit does not matter; P is kept
from growing beyond its start (a quiet link would blow it up), the matrix is shared by all stored horizons, which differ in the targets
alone, and weights start as persistence (`adaptive`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self, final

import numpy as np
from pydantic import Field, model_validator

from toolkit.acoustic.prediction import Forecast, Predictor, Truth
from toolkit.acoustic.prediction import adaptive as shared
from toolkit.acoustic.prediction.adaptive import STORED_S, AdaptiveState, HorizonsS
from toolkit.acoustic.prediction.series import Floats, MarginDb, MaxCells, SnrSeries, cells_of, span_cells
from toolkit.core.work import Work

START = 2500.0
"""P_0 in units of the first window's mean square."""
MOST_CELLS = 100


@dataclass(slots=True)
class RlsState:
    """The adaptive filter, P (order, order) and the diagonal that it started with (0: it has not)."""

    filter: AdaptiveState
    inverse: Floats
    start: float = 0.0


@final
class Rls(Predictor):
    """An autoregression that is refitted with every cell and forgets: a cell n cells ago counts lambda^n."""

    keeps_horizons: ClassVar[bool] = True

    order: int | None = Field(None, ge=1, le=200, description="cells that the forecast is a function of; or order_s")
    order_s: float = Field(43_200.0, gt=0, description="span of those cells, where order is not given")
    forgetting: float = Field(0.999, gt=0.9, le=1, description="lambda per cell")
    horizons_s: HorizonsS = STORED_S
    margin_db: MarginDb = 3.0
    max_cells: MaxCells = 512

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.max_cells < self._cells:
            raise ValueError(f"max_cells: {self.max_cells} cannot hold order = {self._cells} cells")
        return self

    @property
    def _cells(self) -> int:
        return span_cells(self.order, self.order_s, self.step_s, MOST_CELLS)

    @cached_property
    def _horizons(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys(cells_of(horizon_s, self.step_s) for horizon_s in self.horizons_s))

    def init(self, truth: Truth | None = None) -> RlsState:
        series = SnrSeries(self.step_s, self.margin_db, self.max_cells)
        return RlsState(AdaptiveState(series, self._horizons, self._cells), np.zeros((self._cells, self._cells)))

    def update(self, state: RlsState, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        def gain(window: Floats) -> Floats:
            if not state.start:
                square = float(window @ window) / len(window)
                if not square:
                    return np.zeros(len(window))  # nothing has varied yet
                state.start = START / square
                state.inverse = state.start * np.eye(len(window))
            spread = state.inverse @ window
            found: Floats = spread / (self.forgetting + float(window @ spread))
            state.inverse = (state.inverse - np.outer(found, spread)) / self.forgetting
            largest = float(state.inverse.diagonal().max())
            if largest > state.start:
                state.inverse *= state.start / largest
            return found

        shared.update(state.filter, t_s, snr_db, censored, gain)

    def predict(self, state: RlsState, at_s: float) -> Forecast | None:
        return state.filter.series.forecast(at_s, lambda ahead: shared.forecast(state.filter, ahead))

    def work(self, state: RlsState) -> Work:
        """Price the forecast, and one cell's update of P and of all stored horizons, which a node makes whether it asks or not."""
        p, horizons = float(self._cells), float(len(state.filter.horizons))
        return Work(5.0 * p**2 + 4.0 * p * (1.0 + horizons) + 10.0, 8.0 * (p**2 + p * (2.0 + horizons)), 8.0 * (p**2 + p * horizons))
