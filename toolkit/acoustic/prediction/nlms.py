"""Least mean squares, plain or normalised: weights that follow the gradient of the latest error.

Source: Widrow and Hoff (1960), w += mu e u; normalised after Nagumo and Noda (1967), w += mu e u / (eps + |u|^2) with 0 < mu < 2.
Departures: one set of weights per stored horizon, which start as persistence (`adaptive`).
"""

from __future__ import annotations

from functools import cached_property
from typing import Self, final

import numpy as np
from pydantic import Field, model_validator

from toolkit.acoustic.prediction import Forecast, Predictor, Truth
from toolkit.acoustic.prediction import adaptive as shared
from toolkit.acoustic.prediction.adaptive import STORED_S, AdaptiveState, HorizonsS
from toolkit.acoustic.prediction.series import Floats, MarginDb, MaxCells, SnrSeries, cells_of
from toolkit.core.work import Work


@final
class Nlms(Predictor):
    """A linear function of the last `order` cells, corrected by every cell; `normalised` = false is the plain LMS.

    The plain form is stable for mu below 2 / (order x variance of the SNR in dB^2), so its mu has to be small (1e-4 or so).
    """

    order: int = Field(24, ge=1, le=500, description="cells that the forecast is a function of")
    mu: float = Field(0.1, gt=0, lt=2, description="step size: a share of the error's correction, or 1/dB^2 if not normalised")
    normalised: bool = Field(True, description="divide the step by the power of the window")
    eps_db2: float = Field(1.0, gt=0, description="added to that power, in dB^2")
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

    def init(self, truth: Truth | None = None) -> AdaptiveState:
        return AdaptiveState(SnrSeries(self.step_s, self.margin_db, self.max_cells), self._horizons, self.order)

    def _gain(self, window: Floats) -> Floats:
        power = self.eps_db2 + float(window @ window) if self.normalised else 1.0
        return np.asarray(self.mu / power * window)

    def update(self, state: AdaptiveState, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        shared.update(state, t_s, snr_db, censored, self._gain)

    def predict(self, state: AdaptiveState, at_s: float) -> Forecast | None:
        return state.series.forecast(at_s, lambda ahead: shared.forecast(state, ahead))

    def work(self, state: AdaptiveState) -> Work:
        """Price the forecast, and the correction of all stored horizons by one cell, which a node makes whether it asks or not."""
        per_window = 2.0 * self.order
        return Work(
            per_window * (2.0 + 2.0 * len(state.horizons)) + 10.0, 8.0 * self.order * (2.0 + len(state.horizons)),
            8.0 * self.order * (1.0 + len(state.horizons)),
        )
