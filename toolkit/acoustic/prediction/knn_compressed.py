"""kNN regression from compressed storage: neighbours are micro-clusters instead of windows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self, final

import numpy as np
from pydantic import Field, model_validator

from toolkit.acoustic.prediction import Forecast, Predictor, Truth
from toolkit.acoustic.prediction.compression import ClusterStore
from toolkit.acoustic.prediction.residuals import last_value
from toolkit.acoustic.prediction.series import Floats, MarginDb, MaxCells, SnrSeries, cells_of
from toolkit.core.work import Work


@dataclass(slots=True)
class CompressedState:
    """The last cells of the link, and everything older as clusters."""

    series: SnrSeries
    store: ClusterStore


@final
class KnnCompressed(Predictor):
    """As `Knn` with a long window, but what is remembered is bounded: `budget` clusters, and the cells of one window and horizon.

    A window enters the store once the targets of all stored horizons are known, so nothing is used before its time. A horizon that is
    not stored is answered by the nearest stored one. Windows with a missing cell are read from the shared filling.
    """

    window: int = Field(24, ge=2, le=2000, description="cells m per window")
    segments: int = Field(12, ge=1, description="means that a window is reduced to; must divide it")
    k: int = Field(5, ge=1, description="clusters that answer")
    budget: int = Field(64, ge=2, le=4096, description="clusters kept per link")
    theta_db: float = Field(1.5, ge=0, description="a window this near (RMS, dB) to a centroid joins its cluster")
    eps_db: float = Field(0.2, gt=0, description="eps of the weight count / (distance + eps)")
    horizons_s: tuple[float, ...] = Field((1800.0, 3600.0, 10_800.0, 21_600.0), min_length=1, description="stored horizons")
    margin_db: MarginDb = 3.0
    max_cells: MaxCells = 256

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.window % self.segments:
            raise ValueError(f"segments: {self.segments} does not divide window = {self.window}")
        if self.max_cells < self.window + self._longest + 1:
            raise ValueError(f"max_cells: {self.max_cells} cannot hold a window and its farthest target")
        return self

    @property
    def _cells(self) -> list[int]:
        return [cells_of(horizon_s, self.step_s) for horizon_s in self.horizons_s]

    @property
    def _longest(self) -> int:
        return max(self._cells)

    def init(self, truth: Truth | None = None) -> CompressedState:
        return CompressedState(
            SnrSeries(self.step_s, self.margin_db, self.max_cells),
            ClusterStore(self.segments, len(self.horizons_s), self.budget, self.theta_db),
        )

    def update(self, state: CompressedState, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        opened = state.series.update(t_s, snr_db, censored)
        values = state.series.filled
        for back in range(min(opened, len(values) - 1), 0, -1):  # one window per finished cell
            end = len(values) - 1 - back - self._longest
            if end >= self.window - 1:
                targets = np.array([values[end + ahead] for ahead in self._cells])
                state.store.add(self._features(values[end - self.window + 1 : end + 1]), targets)

    def _features(self, window: Floats) -> Floats:
        return np.asarray(window.reshape(self.segments, -1).mean(axis=1))

    def predict(self, state: CompressedState, at_s: float) -> Forecast | None:
        return state.series.forecast(at_s, lambda ahead: self._ahead(state, ahead))

    def _ahead(self, state: CompressedState, ahead: int) -> Forecast:
        values = state.series.filled
        if len(values) < self.window or state.store.size < self.k:
            return last_value(state.series, ahead)
        horizon = int(np.argmin(np.abs(np.array(self._cells) - ahead)))
        mean_db, variance = state.store.lookup(self._features(values[-self.window :]), horizon, self.k, self.eps_db)
        return Forecast(mean_db, math.sqrt(max(variance, 1.0)))

    def work(self, state: CompressedState) -> Work:
        """Reduce the window, then subtract, multiply, add per segment of every cluster."""
        flops = self.window + 3.0 * state.store.size * self.segments
        return Work(flops, 8.0 * flops / 3.0, 16.0 * self.k)
