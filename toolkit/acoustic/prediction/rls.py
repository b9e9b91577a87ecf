"""Recursive least squares with forgetting.

Source: standard (Haykin 2002, ch. 9): K = P u / (lambda + u'P u), w += K e, P = (P - K u'P) / lambda, P_0 = 100 I. Departures: P is kept
from growing beyond its start (a quiet link would blow it up), the matrix is shared by all stored horizons, which differ in the targets
alone, and weights start as persistence (`adaptive`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self, final

import numpy as np
from pydantic import Field, model_validator

from toolkit.acoustic.prediction import Forecast, Predictor, Truth
from toolkit.acoustic.prediction import adaptive as shared
from toolkit.acoustic.prediction.adaptive import STORED_S, AdaptiveState, HorizonsS
from toolkit.acoustic.prediction.series import Floats, MarginDb, MaxCells, SnrSeries, cells_of
from toolkit.core.work import Work

START = 100.0


@dataclass(slots=True)
class RlsState:
    """The adaptive filter and P (order, order)."""

    filter: AdaptiveState
    inverse: Floats


@final
class Rls(Predictor):
    """An autoregression that is refitted with every cell and forgets: a cell n cells ago counts lambda^n."""

    order: int = Field(24, ge=1, le=200, description="cells that the forecast is a function of")
    forgetting: float = Field(0.999, gt=0.9, le=1, description="lambda per cell")
    horizons_s: HorizonsS = STORED_S
    margin_db: MarginDb = 3.0
    max_cells: MaxCells = 512

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.max_cells < self.order:
            raise ValueError(f"max_cells: {self.max_cells} cannot hold order = {self.order} cells")
        return self

    @cached_property
    def _horizons(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys(cells_of(horizon_s, self.step_s) for horizon_s in self.horizons_s))

    def init(self, truth: Truth | None = None) -> RlsState:
        series = SnrSeries(self.step_s, self.margin_db, self.max_cells)
        return RlsState(AdaptiveState(series, self._horizons, self.order), START * np.eye(self.order))

    def update(self, state: RlsState, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        def gain(window: Floats) -> Floats:
            spread = state.inverse @ window
            found: Floats = spread / (self.forgetting + float(window @ spread))
            state.inverse = (state.inverse - np.outer(found, spread)) / self.forgetting
            largest = float(state.inverse.diagonal().max())
            if largest > START:
                state.inverse *= START / largest
            return found

        shared.update(state.filter, t_s, snr_db, censored, gain)

    def predict(self, state: RlsState, at_s: float) -> Forecast | None:
        return state.filter.series.forecast(at_s, lambda ahead: shared.forecast(state.filter, ahead))

    def work(self, state: RlsState) -> Work:
        """Price the forecast, and one cell's update of P and of all stored horizons, which a node makes whether it asks or not."""
        p, horizons = float(self.order), float(len(state.filter.horizons))
        return Work(5.0 * p**2 + 4.0 * p * (1.0 + horizons) + 10.0, 8.0 * (p**2 + p * (2.0 + horizons)), 8.0 * (p**2 + p * horizons))
