"""kNN regression from compressed storage: neighbours are micro-clusters instead of windows.

Source: ours, see `compression`. Departures: none of its settings is a value of arXiv 2108.05057.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Literal, Self, final

import numpy as np
from pydantic import Field, model_validator

from toolkit.acoustic.prediction import Forecast, Predictor, Truth
from toolkit.acoustic.prediction.compression import ClusterStore, Storage, raw_nbytes, window_matrix_nbytes
from toolkit.acoustic.prediction.quantised import QuantisedStore
from toolkit.acoustic.prediction.residuals import CARRY_PRIOR, LARGEST_CARRY, fall_back, root_mean_square
from toolkit.acoustic.prediction.series import Floats, MarginDb, MaxCells, SnrSeries, cells_of, span_cells
from toolkit.core.bounds import Positive
from toolkit.core.work import Work

FADE = 1.0 - 1.0 / 96.0
"""How much of the mean square of past errors is left after a cell."""
FADE_SLOWLY = 1.0 - 1.0 / 336.0
"""The same for what the share to carry on is worked out from."""
MOST_CELLS = 480


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
    """What was expected at each of the last cells, (1 + horizons,) in dB, the cell itself first; None before there were clusters."""
    misfits: Floats = field(default_factory=lambda: np.zeros(0))
    """Fading sum of squared misfits of the cells that forecasts were made in (horizons,) in dB^2."""
    lasting: Floats = field(default_factory=lambda: np.zeros(0))
    """Fading sum of these misfits times what was left of them at the target (horizons,) in dB^2."""


@final
class KnnCompressed(Predictor):
    """As `Knn` with a long window, but what is remembered is bounded: `budget` clusters, and the cells of one window and horizon.

    With `store` = quantised, windows that round to the same steps are one cluster (`quantised`).

    A window enters the store once the targets of all stored horizons are known, so nothing is used before its time. A horizon that is
    not stored is answered by the nearest stored one, marked as falling back. Windows with a missing cell are read from the shared
    filling. With
    `carry` the distance of the latest cell from what its clusters ended with is carried on as far as it has lasted in the past, and the
    spread is the root mean square error of past answers (those a few days old count little); without, it is not below that among and
    within the clusters.
    """

    keeps_horizons: ClassVar[bool] = True

    window: int | None = Field(None, ge=2, le=2000, description="cells m per window; or window_s")
    window_s: float = Field(43_200.0, gt=0, description="span of a window, where window is not given; made a multiple of segments")
    segments: int = Field(12, ge=1, description="means that a window is reduced to; must divide it")
    k: int = Field(5, ge=1, description="clusters that answer")
    store: Literal["clusters", "quantised"] = Field("clusters", description="micro-clusters, or cells of rounded windows")
    quantum_db: float | None = Field(None, gt=0, description="step of the quantised store; by default a third of the series' deviation")
    budget: int = Field(64, ge=2, le=4096, description="clusters kept per link")
    theta_db: float | None = Field(
        None, ge=0, description="a window this near (RMS, dB) to a centroid joins its cluster; by default a quarter of the deviation"
    )
    forget_s: float = Field(0.0, ge=0, description="a full store drops what is small and has not grown for about so long; 0 merges")
    eps_db: float | None = Field(None, gt=0, description="eps of the weight count / (distance + eps); by default a 30th of the deviation")
    carry: bool = Field(True, description="carry on the share of the present misfit that past ones left after as long")
    horizons_s: tuple[Positive, ...] = Field((1800.0, 3600.0, 10_800.0, 21_600.0), min_length=1, description="stored horizons")
    margin_db: MarginDb = 3.0
    max_cells: MaxCells = 256

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.window is not None and self.window % self.segments:
            raise ValueError(f"segments: {self.segments} does not divide window = {self.window}")
        if self.max_cells < self._window + self._longest + 1:
            raise ValueError(f"max_cells: {self.max_cells} cannot hold a window and its farthest target")
        return self

    @property
    def _window(self) -> int:
        cells = span_cells(self.window, self.window_s, self.step_s, MOST_CELLS)
        return cells if self.window is not None else max(2, self.segments * max(1, round(cells / self.segments)))

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
            store = ClusterStore(self.segments, count + 1, self.budget, forget=forget)
        else:
            store = QuantisedStore(self.segments, count + 1, self.budget, forget=forget)
        series = SnrSeries(self.step_s, self.margin_db, self.max_cells)
        errors, weights, misfits, lasting = np.zeros((4, count))
        return CompressedState(series, store, errors, weights, said=deque(maxlen=self._longest), misfits=misfits, lasting=lasting)

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
        m, newest = self._window, values[-1]
        if end >= m - 1:
            targets = np.array([values[end], *(values[end + ahead] for ahead in self._cells)])
            self._store(state, self._features(values[end - m + 1 : end + 1]), targets)
        for index, ahead in enumerate(self._cells):
            then = state.said[-ahead] if len(state.said) >= ahead else None
            if then is not None:
                misfit, error = values[-1 - ahead] - then[0], newest - then[index + 1]
                state.errors[index] = FADE * state.errors[index] + (error - self._share(state, index) * misfit) ** 2
                state.weights[index] = FADE * state.weights[index] + 1.0
                state.misfits[index] = FADE_SLOWLY * state.misfits[index] + misfit**2
                state.lasting[index] = FADE_SLOWLY * state.lasting[index] + misfit * error
        ready = len(values) >= m and state.store.size >= self.k
        state.said.append(state.store.lookup(self._features(values[-m:]), self.k, self._eps_db(state)).means_db if ready else None)

    def _store(self, state: CompressedState, features: Floats, targets: Floats) -> None:
        scale_db = state.series.scale_db
        if isinstance(state.store, ClusterStore):
            state.store.theta_db = scale_db / 4.0 if self.theta_db is None else self.theta_db
        elif not state.store.windows:
            state.store.quantum_db = self.quantum_db or scale_db / 3.0 or 1.0
            state.store.base_db = float(features.mean()) if self.quantum_db is None else 0.0
        state.store.add(features, targets)

    def _eps_db(self, state: CompressedState) -> float:
        return (state.series.scale_db / 30.0 if self.eps_db is None else self.eps_db) + float(np.finfo(float).tiny)

    def _share(self, state: CompressedState, index: int) -> float:
        """What is left of a misfit after the horizon, on average; 0 while little is known."""
        if not self.carry or not state.misfits[index]:
            return 0.0
        prior = 1.0 + CARRY_PRIOR / max(1.0, float(state.weights[index]))
        return float(min(max(state.lasting[index] / (state.misfits[index] * prior), -LARGEST_CARRY), LARGEST_CARRY))

    def _features(self, window: Floats) -> Floats:
        return np.asarray(window.reshape(self.segments, -1).mean(axis=1))

    def predict(self, state: CompressedState, at_s: float) -> Forecast | None:
        return state.series.forecast(at_s, lambda ahead: self._ahead(state, ahead))

    def _ahead(self, state: CompressedState, ahead: int) -> Forecast:
        values = state.series.filled
        if len(values) < self._window or state.store.size < self.k:
            return fall_back(state.series, ahead)
        horizon = min(range(len(self._cells)), key=lambda index: abs(self._cells[index] - ahead))
        answer = state.store.lookup(self._features(values[-self._window :]), self.k, self._eps_db(state))
        variance = root_mean_square(float(state.errors[horizon]), float(state.weights[horizon]), state.series.scale_db) ** 2
        if not self.carry:
            variance = max(float(answer.variances[horizon + 1]), variance)
        mean = float(answer.means_db[horizon + 1]) + self._share(state, horizon) * float(values[-1] - answer.means_db[0])
        return Forecast(mean, math.sqrt(variance), self._cells[horizon] != ahead)

    def work(self, state: CompressedState) -> Work:
        """Price the forecast, and the latest finished cell, which a node takes in whether it asks or not.

        Both reduce a window and compare it (subtract, multiply, add per component); the cell also adds a window and its targets to the
        store, and two clusters are merged where it is full.
        """
        compared = 2.0 * state.store.looked_up + state.store.spent
        flops = 2.0 * self._window + 3.0 * compared + 20.0 * self.k + 6.0 * len(self.horizons_s)
        return Work(flops, 8.0 * (2.0 * self._window + compared), 32.0 * self.k)

    def storage(self, state: CompressedState) -> Storage:
        """What this link's memory takes on a node, next to what a library of all its windows would."""
        recent = min(len(state.series), self._window + self._longest + 1)
        return Storage(state.store.nbytes, raw_nbytes(recent), raw_nbytes(state.cells), window_matrix_nbytes(state.cells, self._window))
