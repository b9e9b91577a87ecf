"""kNN regression on the SNR series of a link: what followed when it last looked like this?

Source: the idea is that of arXiv 2108.05057, of which only the abstract could be read. Departures: window, k, weights, treatment of
periods, of missing cells and of the spread are this project's choice, and none of them is a value of that paper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Self, final

import numpy as np
from pydantic import Field, model_validator

from toolkit.acoustic.prediction import Forecast, Predictor, Truth, paa
from toolkit.acoustic.prediction.exogenous import Exogenous
from toolkit.acoustic.prediction.knn_distance import Comparison, nearest_of_latest, nearest_of_origins
from toolkit.acoustic.prediction.knn_modes import Mode, local_linear, moved
from toolkit.acoustic.prediction.residuals import fall_back
from toolkit.acoustic.prediction.search import Floats, Ints, Neighbours, WindowOrder, windows_of
from toolkit.acoustic.prediction.series import MarginDb, MaxCells, SnrSeries, cells_of, span_cells, spread_of
from toolkit.core.bounds import Positive
from toolkit.core.work import Work

if TYPE_CHECKING:
    from toolkit.acoustic.prediction.recurrence import Beside, Recurrence, Weighing

BLOCK, LONG_BLOCK = 24, 96
"""The residual floor is worked out anew every so many cells, from the cells before them; the latter where many are kept."""
ORIGINS = 24
"""Past forecasts that the residual floor is taken from."""
FLOOR_SPAN = 240
"""Cells at most among which these origins lie."""
MOST_CELLS = 288
"""Cells at most of a window whose length is given in time."""
AUTO_CELLS = 4096
"""From how many cells kept on the compiled search pays for being compiled."""
EPS_SHARE = 0.05
UNIT_SHARE = 0.5


@dataclass(slots=True)
class KnnState:
    """The grid of one link, what the searches keep of it, and what was worked out per block of cells."""

    series: SnrSeries
    order: WindowOrder | None = None
    recurrence: Recurrence | None = None
    operations: int = 0
    """Components that the last forecast compared, those of a renewed residual floor included."""
    floors_db: dict[int, tuple[int, float]] = field(default_factory=dict)
    """Per horizon in cells: the block, and the floor of the spread in it."""
    latest_missing: int = -(2**62)
    """Absolute number of the latest cell that was skipped."""

    def missing(self) -> bool:
        """Whether a cell is missing among those kept."""
        return self.latest_missing >= self.series.first_cell


@final
class Knn(Predictor):
    """Mean of what followed the k most similar windows of the past, weighted by 1 / (distance + eps).

    The distance is the root mean square difference in dB over the cells that both windows have (at least `present` of those that the
    latest has; `knn_distance`); ties go to the more recent window. A window that ends at cell i may be used at cell n only when its
    target i + h is known: i + h <= n, and was measured; if not, the next nearest takes its place. Every horizon has its own targets
    (direct forecasts). The spread is that of the neighbours' targets, and not below the root mean square error of the same forecast at
    the last `ORIGINS` origins. With fewer than k windows the last value is the answer, marked as such.

    Three ways to use periods, each of which can be switched off: a window that spans half a day or more finds the phase by itself;
    `phase_periods_s` adds beta cos and beta sin of each period to the window; `same_phase_s` adds the value one such lag before the
    target, when it is known (86400 s, and 89424 s, which is two M2 tides). Columns of `exogenous` are added in standard deviations.
    What is made of the neighbours is the `mode`, see `knn_modes`.
    """

    window: int | None = Field(None, ge=1, le=2000, description="cells m per window; or window_s")
    window_s: float = Field(43_200.0, gt=0, description="span of a window, where window is not given; at most 288 cells")
    k: int = Field(12, ge=1, le=500, description="neighbours")
    weights: Literal["inverse", "uniform", "gaussian", "tricube"] = Field("inverse", description="how weight falls with distance")
    eps_db: float | None = Field(
        None, gt=0, description="eps of the inverse weight; by default a twentieth of the neighbours' mean distance"
    )
    present: float = Field(0.4, gt=0, le=1, description="least share of the latest window's cells that another must have too")
    exclusion: int = Field(0, ge=0, description="after taking a window, others that end within so many cells of it are banned")
    phase_periods_s: tuple[Positive, ...] = Field((), description="periods whose phase is added to the window, such as 44714, 86400")
    phase_db: float | None = Field(None, ge=0, description="beta: weight of the phase; by default half of the series' deviation")
    same_phase_s: tuple[Positive, ...] = Field((86_400.0,), description="lags before the target whose value is added to the window")
    mode: Mode = Field("delta", description="what is made of the neighbours' targets")
    ridge: float = Field(0.1, gt=0, description="ridge of local_linear as a share of trace / features")
    exogenous: Exogenous | None = Field(None, description="measured surroundings that are compared too")
    exogenous_db: float | None = Field(
        None, ge=0, description="what one standard deviation of a column counts; by default half of the series' deviation"
    )
    search: Literal["auto", "brute", "quick", "paa", "incremental"] = Field(
        "auto", description="auto: incremental for long histories, else brute; quick compares fewest components; all find the same"
    )
    margin_db: MarginDb = 3.0
    max_cells: MaxCells = 2048

    @model_validator(mode="after")
    def _search_is_plain(self) -> Self:
        if self.search in {"quick", "paa"} and not (self._sweepable and not (self.phase_periods_s or self.same_phase_s)):
            raise ValueError(
                f"search: {self.search} needs same_phase_s: [], phase_periods_s: [], exclusion: 0, no exogenous, and a mode but centered"
            )
        if self.search == "incremental" and not self._sweepable:
            raise ValueError("search: incremental needs exclusion: 0, no exogenous, and a mode but centered")
        return self

    @property
    def _sweepable(self) -> bool:
        """Whether the compiled search can do what is asked."""
        return not self.exclusion and self.exogenous is None and self.mode != "centered"

    @cached_property
    def _swept(self) -> bool:
        return self.search == "incremental" or (self.search == "auto" and self._sweepable and self.max_cells > AUTO_CELLS)

    @cached_property
    def _block(self) -> int:
        return BLOCK if self.max_cells <= AUTO_CELLS else LONG_BLOCK

    @cached_property
    def _m(self) -> int:
        return span_cells(self.window, self.window_s, self.step_s, MOST_CELLS)

    @cached_property
    def _lags(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys(cells_of(lag_s, self.step_s) for lag_s in self.same_phase_s))

    @cached_property
    def _phase(self) -> Floats:
        """Sum of squared phase differences of two windows 0, 1, … `max_cells` cells apart, over all periods, for weight 1."""
        apart = np.arange(self.max_cells + 1 if self.phase_periods_s else 0)
        total = np.zeros(len(apart))
        for period_s in self.phase_periods_s:  # (cos a - cos b)^2 + (sin a - sin b)^2 = 2 (1 - cos(a - b))
            total += 2.0 * (1.0 - np.cos(2.0 * np.pi * self.step_s * apart / period_s))
        return total

    def init(self, truth: Truth | None = None) -> KnnState:
        return KnnState(SnrSeries(self.step_s, self.margin_db, self.max_cells))

    def update(self, state: KnnState, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        started = state.series.samples
        if state.series.update(t_s, snr_db, censored) > 1 and started:
            state.latest_missing = state.series.last_cell - 1

    def predict(self, state: KnnState, at_s: float) -> Forecast | None:
        series = state.series
        if not series.samples:
            return None
        cells, weight = series.horizon(at_s)
        return series.blend(self._ahead(state, cells), weight)

    def work(self, state: KnnState) -> Work:
        """Subtract, multiply, add per component that the last forecast compared; the average of k targets and their spread."""
        operations = state.operations or max(1, (len(state.series) - self._m) * self._m)
        return Work(3.0 * operations + 8.0 * self.k, 8.0 * operations, 16.0 * self.k)

    def _ahead(self, state: KnnState, ahead: int) -> Forecast:
        series = state.series
        values = series.values
        scale_db = series.scale_db
        if self._swept and self.weights == "inverse" and self.mode in {"level", "delta"}:
            return self._swept_answer(state, values, ahead, scale_db)
        beside = self._surroundings(len(values), ahead, series.first_cell, scale_db)
        found = self._neighbours(state, values, ahead, scale_db, beside)
        state.operations = found.operations
        if len(found.ends) < self.k:
            return fall_back(series, ahead)
        targets = values[found.ends + ahead]
        weight = self._weight(np.sqrt(found.squares))
        weight /= weight.sum()
        if self.mode == "local_linear":
            features = self._features(series.filled, np.append(found.ends, len(values) - 1), ahead, series.first_cell, scale_db, beside)
            mean, gap = local_linear(features[:-1], features[-1], targets, weight, self.ridge)
        else:
            targets = self._moved(series.filled, found.ends[None], np.array([len(values) - 1]), targets[None])[0]
            mean = float(weight @ targets)
            gap = targets - mean
        variance = float(weight @ (gap * gap))
        return Forecast(mean, max(math.sqrt(variance), self._floor_db(state, ahead)))

    def _moved(self, filled: Floats, ends: Ints, origins: Ints, targets: Floats) -> Floats:
        """Targets (n, k) of windows that end at *ends* (n, k) as they count for those that end at *origins* (n,)."""
        if self.mode == "delta":  # needs the last cells alone
            return np.asarray(targets + (filled[origins][:, None] - filled[ends]))
        if self.mode == "level":
            return targets
        windows = windows_of(filled, self._m)
        return moved(self.mode, targets, windows[ends - self._m + 1], windows[origins - self._m + 1])

    def _comparison(self, ahead: int, scale_db: float) -> Comparison:
        """What windows are compared by at this horizon, for a series of this deviation."""
        phase_db = UNIT_SHARE * scale_db if self.phase_db is None else self.phase_db
        backs = tuple(lag - ahead for lag in self._lags if lag >= ahead)
        periods = len(self.phase_periods_s)
        return Comparison(
            self._m, self.k, ahead, self.present, self.mode == "centered", self.exclusion, backs, self._phase, phase_db**2, 2.0 * periods
        )

    def _beside(self, ahead: int, scale_db: float) -> Beside:
        """The same for the compiled search."""
        known = self._besides.get(ahead)
        if known is None:
            backs = np.array([lag - ahead for lag in self._lags if lag >= ahead], np.intp)
            from toolkit.acoustic.prediction.recurrence import Beside

            known = self._besides[ahead] = Beside(backs, self._phase, 0.0, 2.0 * len(self.phase_periods_s))
        if not self.phase_periods_s:
            return known
        return known._replace(phase_square=(UNIT_SHARE * scale_db if self.phase_db is None else self.phase_db) ** 2)

    @cached_property
    def _besides(self) -> dict[int, Beside]:
        return {}

    def _features(
        self, values: Floats, ends: Ints, ahead: int, first_cell: int, scale_db: float, beside: Floats | None
    ) -> Floats:
        """All that windows of *values* (cells,) without NaN are compared by, as columns in dB: (ends, features)."""
        columns = [windows_of(values, self._m)[ends - self._m + 1]]
        backs = [lag - ahead for lag in self._lags if lag >= ahead]
        columns += [values[ends - back][:, None] for back in backs if ends.min() >= back]
        if self.phase_periods_s:
            phase_db = UNIT_SHARE * scale_db if self.phase_db is None else self.phase_db
            angle = 2.0 * np.pi * self.step_s * np.divide.outer((ends + first_cell).astype(np.float64), np.array(self.phase_periods_s))
            columns += [phase_db * np.cos(angle), phase_db * np.sin(angle)]
        if beside is not None:
            columns.append(beside[ends - self._m + 1])
        return np.concatenate(columns, axis=1)

    def _surroundings(self, cells: int, ahead: int, first_cell: int, scale_db: float) -> Floats | None:
        """Exogenous columns beside every window of so many cells, in dB as they count: (cells - window + 1, columns)."""
        if self.exogenous is None or cells < self._m:
            return None
        ends = np.arange(first_cell + self._m - 1, first_cell + cells, dtype=np.float64)
        found = self.exogenous.beside(ends, ahead, self.step_s)
        unit_db = UNIT_SHARE * scale_db if self.exogenous_db is None else self.exogenous_db
        deviation = found.std(axis=0)
        return np.asarray(found * (unit_db / np.where(deviation > 0.0, deviation, 1.0)))

    def _neighbours(self, state: KnnState, values: Floats, ahead: int, scale_db: float, beside: Floats | None) -> Neighbours:
        """The k nearest windows with a known target: index of their last cell, mean squared difference in dB^2, operations."""
        if len(values) - self._m - ahead < 0:
            return Neighbours(np.empty(0, np.intp), np.empty(0), 0)
        if self._swept:
            return self._swept_neighbours(state, values, ahead, scale_db)
        if self.search in {"quick", "paa"} and not state.missing():
            return self._searched(state, values, len(values) - 1 - ahead)
        return nearest_of_latest(values, self._comparison(ahead, scale_db), beside)

    def _swept_neighbours(self, state: KnnState, values: Floats, ahead: int, scale_db: float) -> Neighbours:
        """By the compiled search, which is brought up to the newest cell first."""
        recurrence = self._recurrence(state)
        compared = recurrence.follow(values, state.series.last_cell)
        found = recurrence.search(values, len(values) - 1 - ahead, self.k, self.present, self._beside(ahead, scale_db))
        return found._replace(operations=found.operations + compared)

    def _swept_answer(self, state: KnnState, values: Floats, ahead: int, scale_db: float) -> Forecast:
        """The whole forecast, compiled."""
        series = state.series
        if len(values) - self._m - ahead < self.k - 1:
            state.operations = 0
            return fall_back(series, ahead)
        recurrence = self._recurrence(state)
        compared = recurrence.follow(values, series.last_cell)
        found, more, mean, variance = recurrence.average(
            values, series.filled, ahead, self._weighing, self.present, self._beside(ahead, scale_db)
        )
        state.operations = compared + more
        if found < self.k:
            return fall_back(series, ahead)
        return Forecast(mean, max(math.sqrt(variance), self._floor_db(state, ahead)))

    def _recurrence(self, state: KnnState) -> Recurrence:
        if state.recurrence is None:
            from toolkit.acoustic.prediction.recurrence import Recurrence  # imports numba

            state.recurrence = Recurrence(self._m)
        return state.recurrence

    @cached_property
    def _weighing(self) -> Weighing:
        from toolkit.acoustic.prediction.recurrence import Weighing

        return Weighing(self.k, -1.0 if self.eps_db is None else self.eps_db, EPS_SHARE, self.mode == "delta")

    def _searched(self, state: KnnState, values: Floats, last_end: int) -> Neighbours:
        """Neighbours by one of the searches that bound distances of complete windows."""
        m, first = self._m, state.series.first_cell
        if self.search == "paa":
            found = paa.search(values, m, last_end, self.k)
        else:
            if state.order is None:
                state.order = WindowOrder(m)
            state.order.keep(values[:-1], first)  # finished cells only, numbered absolutely
            found = state.order.search(values[-m:], first + last_end, self.k)
            found = Neighbours(found.ends - first, found.squares, found.operations)
        return Neighbours(found.ends, found.squares / m, found.operations)

    def _weight(self, distances: Floats) -> Floats:
        """Weights of neighbours at *distances* (…, k) in dB; not normalised."""
        if self.weights == "uniform":
            return np.ones(distances.shape)
        tiny = float(np.finfo(np.float64).tiny) ** 0.5
        eps = (EPS_SHARE * distances.mean(axis=-1, keepdims=True) if self.eps_db is None else self.eps_db) + tiny
        if self.weights == "inverse":
            return np.asarray(1.0 / (distances + eps))
        if self.weights == "gaussian":
            scale = np.maximum(np.median(distances, axis=-1, keepdims=True), eps)
            return np.asarray(np.exp(-0.5 * (distances / scale) ** 2))
        reach = distances.max(axis=-1, keepdims=True) * 1.0001 + eps
        return np.asarray((1.0 - (distances / reach) ** 3) ** 3)

    def _floor_db(self, state: KnnState, ahead: int) -> float:
        """Root mean square error of this forecast over the last origins before the present block of cells."""
        series = state.series
        block = series.last_cell // self._block
        known = state.floors_db.get(ahead)
        if known is None or known[0] != block:
            # The oldest cells are left out once the history is full, lest the floor depend on when in the block it was asked for.
            place = series.settled(block * self._block, self.max_cells - self._block)
            square, operations = self._residual(
                series.values[place], series.filled[place], ahead, series.first_cell + place.start
            )
            known = (block, math.sqrt(square))
            state.floors_db[ahead] = known
            state.operations += operations
        return known[1]

    def _residual(self, values: Floats, filled: Floats, ahead: int, first_cell: int) -> tuple[float, int]:
        """Mean square error in dB^2 of forecasts made at the last origins of *values*, and the components compared.

        Origins are measured cells with a measured target; each is forecast as it would have been then. With too little past it is 0.
        """
        m, last = self._m, len(values) - 1
        first = max(m - 1 + ahead + self.k - 1, last - ahead - FLOOR_SPAN + 1)
        origins = np.arange(first, last - ahead + 1)
        if not len(origins):
            return 0.0, 0
        origins = origins[(values[origins] == values[origins]) & (values[origins + ahead] == values[origins + ahead])][-ORIGINS:]
        if not len(origins):
            return 0.0, 0
        scale_db = spread_of(values[values == values])
        if self._swept:
            from toolkit.acoustic.prediction.recurrence import of_origins

            near = of_origins(values, origins, m, self.k, ahead, self.present, self._beside(ahead, scale_db))
            beside = None
        else:
            beside = self._surroundings(len(values), ahead, first_cell, scale_db)
            near = nearest_of_origins(values, origins, self._comparison(ahead, scale_db), beside)
        full = near.found == self.k
        if not full.any():
            return 0.0, near.operations
        origins, ends = origins[full], near.ends[full]
        weight = self._weight(np.sqrt(near.squares[full]))
        weight /= weight.sum(axis=1, keepdims=True)
        targets = values[ends + ahead]
        if self.mode == "local_linear":
            said = np.empty(len(origins))
            for index, (origin, row) in enumerate(zip(origins.tolist(), ends, strict=True)):
                features = self._features(filled, np.append(row, origin), ahead, first_cell, scale_db, beside)
                said[index] = local_linear(features[:-1], features[-1], targets[index], weight[index], self.ridge)[0]
        else:
            said = (weight * self._moved(filled, ends, origins, targets)).sum(axis=1)
        return float(np.mean((said - values[origins + ahead]) ** 2)), near.operations
