"""Least mean squares, plain or normalised: weights that follow the gradient of the latest error.

Source: Widrow and Hoff (1960), w += mu e u; normalised after Nagumo and Noda (1967), w += mu e u / (eps + |u|^2) with 0 < mu < 2.
Departures: one set of weights per stored horizon, which start as persistence (`adaptive`).
"""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar, Self, final

import numpy as np
from pydantic import Field, model_validator

from toolkit.acoustic.prediction import Forecast, Predictor, Truth
from toolkit.acoustic.prediction import adaptive as shared
from toolkit.acoustic.prediction.adaptive import STORED_S, AdaptiveState, HorizonsS
from toolkit.acoustic.prediction.series import Floats, MarginDb, MaxCells, SnrSeries, cells_of, span_cells
from toolkit.core.work import Work

EPS_SHARE = 0.01
MOST_CELLS = 160


@final
class Nlms(Predictor):
    """A linear function of the last `order` cells, corrected by every cell; `normalised` = false is the plain LMS.

    The plain form is stable for mu below 2 / (order x variance of the SNR in dB^2), so its mu has to be small (1e-4 or so).
    """

    keeps_horizons: ClassVar[bool] = True

    order: int | None = Field(None, ge=1, le=500, description="cells that the forecast is a function of; or order_s")
    order_s: float = Field(43_200.0, gt=0, description="span of those cells, where order is not given")
    mu: float = Field(0.1, gt=0, lt=2, description="step size: a share of the error's correction, or 1/dB^2 if not normalised")
    normalised: bool = Field(True, description="divide the step by the power of the window")
    eps_db2: float | None = Field(None, gt=0, description="added to that power, in dB^2; by default a hundredth of a window's usual power")
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

    def init(self, truth: Truth | None = None) -> AdaptiveState:
        return AdaptiveState(SnrSeries(self.step_s, self.margin_db, self.max_cells), self._horizons, self._cells)

    def update(self, state: AdaptiveState, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        def gain(window: Floats) -> Floats:
            if not self.normalised:
                return self.mu * window
            eps = EPS_SHARE * self._cells * state.series.scale_db**2 if self.eps_db2 is None else self.eps_db2
            return np.asarray(self.mu / (eps + float(window @ window) + np.finfo(float).tiny) * window)

        shared.update(state, t_s, snr_db, censored, gain)

    def predict(self, state: AdaptiveState, at_s: float) -> Forecast | None:
        return state.series.forecast(at_s, lambda ahead: shared.forecast(state, ahead))

    def work(self, state: AdaptiveState) -> Work:
        """Price the forecast, and the correction of all stored horizons by one cell, which a node makes whether it asks or not."""
        per_window = 2.0 * self._cells
        return Work(
            per_window * (2.0 + 2.0 * len(state.horizons)) + 10.0, 8.0 * self._cells * (2.0 + len(state.horizons)),
            8.0 * self._cells * (1.0 + len(state.horizons)),
        )
