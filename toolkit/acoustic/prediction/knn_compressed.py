"""kNN regression from compressed storage: neighbours are micro-clusters instead of windows.

Source: ours, see `compression`. Departures: none of its settings is a value of arXiv 2108.05057.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Self, final

import numpy as np
from pydantic import Field, model_validator

from toolkit.acoustic.prediction import Forecast, Predictor, Truth
from toolkit.acoustic.prediction.compression import ClusterStore, Storage, raw_nbytes, window_matrix_nbytes
from toolkit.acoustic.prediction.quantised import QuantisedStore
from toolkit.acoustic.prediction.residuals import PRIOR_STD_DB, last_value
from toolkit.acoustic.prediction.series import Floats, MarginDb, MaxCells, SnrSeries, cells_of
from toolkit.core.work import Work

FADE = 1.0 - 1.0 / 96.0
"""How much of the mean square of past errors is left after a cell."""


@dataclass(slots=True)
class CompressedState:
    """The last cells of the link, everything older as clusters, and how far past answers were off."""

    series: SnrSeries
    store: ClusterStore | QuantisedStore
    errors: Floats
    """Fading sum of squared errors per stored horizon (horizons,) in dB^2."""
    weights: Floats
    """Fading count of those errors (horizons,)."""
    cells: int = 0
    """Cells of the link so far, kept or not."""
    said: deque[Floats | None] = field(default_factory=deque)
    """What was expected at each of the last cells, (horizons,) in dB; None before there were clusters."""


@final
class KnnCompressed(Predictor):
    """As `Knn` with a long window, but what is remembered is bounded: `budget` clusters, and the cells of one window and horizon.

    With `store` = quantised, windows that round to the same steps are one cluster (`quantised`).

    A window enters the store once the targets of all stored horizons are known, so nothing is used before its time. A horizon that is
    not stored is answered by the nearest stored one. Windows with a missing cell are read from the shared filling. The spread is that
    among and within the clusters, and not below the root mean square error of past answers (those a few days old count little).
    """

    window: int = Field(24, ge=2, le=2000, description="cells m per window")
    segments: int = Field(12, ge=1, description="means that a window is reduced to; must divide it")
    k: int = Field(5, ge=1, description="clusters that answer")
    store: Literal["clusters", "quantised"] = Field("clusters", description="micro-clusters, or cells of rounded windows")
    quantum_db: float = Field(2.0, gt=0, description="step of the quantised store")
    budget: int = Field(64, ge=2, le=4096, description="clusters kept per link")
    theta_db: float = Field(1.5, ge=0, description="a window this near (RMS, dB) to a centroid joins its cluster")
    forget_s: float = Field(0.0, ge=0, description="a full store drops what is small and has not grown for about so long; 0 merges")
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

    @cached_property
    def _cells(self) -> tuple[int, ...]:
        return tuple(cells_of(horizon_s, self.step_s) for horizon_s in self.horizons_s)

    @cached_property
    def _longest(self) -> int:
        return max(self._cells)

    def init(self, truth: Truth | None = None) -> CompressedState:
        count = len(self.horizons_s)
        forget = self.forget_s / self.step_s
        store: ClusterStore | QuantisedStore
        if self.store == "clusters":
            store = ClusterStore(self.segments, count, self.budget, self.theta_db, forget)
        else:
            store = QuantisedStore(self.segments, count, self.budget, self.quantum_db, forget)
        series = SnrSeries(self.step_s, self.margin_db, self.max_cells)
        return CompressedState(series, store, np.zeros(count), np.zeros(count), said=deque(maxlen=self._longest))

    def update(self, state: CompressedState, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        started = state.series.samples > 0
        opened = state.series.update(t_s, snr_db, censored)
        state.cells += opened
        if not opened or not started:
            return
        values = state.series.filled
        for back in range(min(opened, len(values) - 1), 0, -1):  # each finished cell, missing ones as they are filled
            self._close(state, values[: len(values) - back])

    def _close(self, state: CompressedState, values: Floats) -> None:
        """Take in the window whose farthest target is the last of *values*; judge what was said of that cell; say what comes next."""
        end = len(values) - 1 - self._longest
        if end >= self.window - 1:
            targets = np.array([values[end + ahead] for ahead in self._cells])
            state.store.add(self._features(values[end - self.window + 1 : end + 1]), targets)
        for index, ahead in enumerate(self._cells):
            then = state.said[-ahead] if len(state.said) >= ahead else None
            if then is not None:
                state.errors[index] = FADE * state.errors[index] + (values[-1] - then[index]) ** 2
                state.weights[index] = FADE * state.weights[index] + 1.0
        ready = len(values) >= self.window and state.store.size >= self.k
        state.said.append(state.store.lookup(self._features(values[-self.window :]), self.k, self.eps_db).means_db if ready else None)

    def _features(self, window: Floats) -> Floats:
        return np.asarray(window.reshape(self.segments, -1).mean(axis=1))

    def predict(self, state: CompressedState, at_s: float) -> Forecast | None:
        return state.series.forecast(at_s, lambda ahead: self._ahead(state, ahead))

    def _ahead(self, state: CompressedState, ahead: int) -> Forecast:
        values = state.series.filled
        if len(values) < self.window or state.store.size < self.k:
            return last_value(state.series, ahead)
        horizon = min(range(len(self._cells)), key=lambda index: abs(self._cells[index] - ahead))
        answer = state.store.lookup(self._features(values[-self.window :]), self.k, self.eps_db)
        floor = (state.errors[horizon] + PRIOR_STD_DB**2) / (state.weights[horizon] + 1.0)
        return Forecast(float(answer.means_db[horizon]), math.sqrt(max(float(answer.variances[horizon]), floor)))

    def work(self, state: CompressedState) -> Work:
        """Price the forecast, and the latest finished cell, which a node takes in whether it asks or not.

        Both reduce a window and compare it (subtract, multiply, add per component); the cell also adds a window and its targets to the
        store, and two clusters are merged where it is full.
        """
        compared = 2.0 * state.store.looked_up + state.store.spent
        flops = 2.0 * self.window + 3.0 * compared + 20.0 * self.k + 6.0 * len(self.horizons_s)
        return Work(flops, 8.0 * (2.0 * self.window + compared), 32.0 * self.k)

    def storage(self, state: CompressedState) -> Storage:
        """What this link's memory takes on a node, next to what a library of all its windows would."""
        recent = min(len(state.series), self.window + self._longest + 1)
        return Storage(state.store.nbytes, raw_nbytes(recent), raw_nbytes(state.cells), window_matrix_nbytes(state.cells, self.window))
