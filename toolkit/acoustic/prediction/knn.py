"""kNN regression on the SNR series of a link: what followed when it last looked like this?

Source: the idea is that of arXiv 2108.05057, of which only the abstract could be read. Departures: window, k, weights, treatment of
periods and of the spread are this project's choice, and none of them is a value of that paper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Self, final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from toolkit.acoustic.prediction import Forecast, Predictor, Truth, paa
from toolkit.acoustic.prediction.exogenous import Exogenous
from toolkit.acoustic.prediction.knn_modes import Mode, local_linear, moved
from toolkit.acoustic.prediction.residuals import last_value
from toolkit.acoustic.prediction.search import Neighbours, WindowOrder, nearest, windows_of
from toolkit.acoustic.prediction.series import Floats, MarginDb, MaxCells, SnrSeries, cells_of
from toolkit.core.work import Work

if TYPE_CHECKING:
    from toolkit.acoustic.prediction.recurrence import Recurrence

BLOCK = 24
"""The residual floor is worked out anew every so many cells, from the cells before them."""
ORIGINS = 24
"""Past forecasts that the residual floor is taken from."""


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


@final
class Knn(Predictor):
    """Mean of what followed the k most similar windows of the past, weighted by 1 / (distance + eps).

    The distance is the root mean square difference in dB over the cells that both windows have (at least `present` of them); ties go
    to the more recent window. A window that ends at cell i may be used at cell n only when its target i + h is known: i + h <= n.
    Every horizon has its own targets (direct forecasts). The spread is that of the neighbours' targets, and not below the root mean
    square error of the same forecast at the last `ORIGINS` origins. With fewer than k windows the last value is the answer.

    Three ways to use periods, each of which can be switched off: a window that spans half a day or more finds the phase by itself;
    `phase_periods_s` adds beta cos and beta sin of each period to the window; `same_phase_s` adds the value one such lag before the
    target, when it is known (86400 s, and 89424 s, which is two M2 tides). Columns of `exogenous` are added in standard deviations.
    What is made of the neighbours is the `mode`, see `knn_modes`.
    """

    window: int = Field(24, ge=1, le=2000, description="cells m per window")
    k: int = Field(5, ge=1, le=500, description="neighbours")
    weights: Literal["inverse", "uniform", "gaussian", "tricube"] = Field("inverse", description="how weight falls with distance")
    eps_db: float = Field(0.1, gt=0, description="eps of the inverse weight")
    present: float = Field(0.7, gt=0, le=1, description="least share of cells that two windows must have in common")
    exclusion: int = Field(0, ge=0, description="after taking a window, others that end within so many cells of it are banned")
    phase_periods_s: tuple[float, ...] = Field((), description="periods whose phase is added to the window, such as 44714, 86400")
    phase_db: float = Field(3.0, ge=0, description="beta: weight of the phase")
    same_phase_s: tuple[float, ...] = Field((86_400.0,), description="lags before the target whose value is added to the window")
    mode: Mode = Field("level", description="what is made of the neighbours' targets")
    ridge: float = Field(0.1, gt=0, description="ridge of local_linear as a share of trace / features")
    exogenous: Exogenous | None = Field(None, description="measured surroundings that are compared too")
    exogenous_db: float = Field(3.0, ge=0, description="what one standard deviation of a column counts")
    search: Literal["brute", "quick", "paa", "incremental"] = Field(
        "brute", description="quick compares fewest components; incremental takes least time on long histories; all find the same"
    )
    margin_db: MarginDb = 3.0
    max_cells: MaxCells = 2048

    @model_validator(mode="after")
    def _search_is_plain(self) -> Self:
        plain = not (self.phase_periods_s or self.same_phase_s or self.exclusion or self.exogenous) and self.mode != "centered"
        if self.search != "brute" and not plain:
            raise ValueError(
                f"search: {self.search} needs same_phase_s: [], phase_periods_s: [], exclusion: 0, no exogenous, and a mode but centered"
            )
        return self

    def init(self, truth: Truth | None = None) -> KnnState:
        return KnnState(SnrSeries(self.step_s, self.margin_db, self.max_cells))

    def update(self, state: KnnState, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        state.series.update(t_s, snr_db, censored)

    def predict(self, state: KnnState, at_s: float) -> Forecast | None:
        return state.series.forecast(at_s, lambda ahead: self._ahead(state, ahead))

    def work(self, state: KnnState) -> Work:
        """Subtract, multiply, add per component that the last forecast compared; the average of k targets and their spread."""
        operations = state.operations or max(1, (len(state.series) - self.window) * self.window)
        return Work(3.0 * operations + 8.0 * self.k, 8.0 * operations, 16.0 * self.k)

    def _ahead(self, state: KnnState, ahead: int) -> Forecast:
        series = state.series
        values = series.values
        found = self._neighbours(state, values, ahead)
        state.operations = found.operations
        if len(found.ends) < self.k:
            return last_value(series, ahead)
        targets = values[found.ends + ahead]
        weight = self._weight(np.sqrt(found.squares))
        weight /= weight.sum()
        if self.mode == "local_linear":
            beside = self._surroundings(len(values), ahead, series.first_cell)
            features = self._features(series.filled, np.append(found.ends, len(values) - 1), ahead, series.first_cell, beside)
            mean, fitted = local_linear(features[:-1], features[-1], targets, weight, self.ridge)
            gap = targets - fitted
        else:
            if self.mode != "level":
                targets = moved(self.mode, targets, self._windows_at(series.filled, found.ends), series.filled[-self.window :])
            mean = float(weight @ targets)
            gap = targets - mean
        variance = float(weight @ (gap * gap))
        return Forecast(mean, max(math.sqrt(variance), self._floor_db(state, ahead)))

    def _windows_at(self, values: Floats, ends: NDArray[np.intp]) -> Floats:
        return windows_of(values, self.window)[ends - self.window + 1]

    def _features(
        self, values: Floats, ends: NDArray[np.intp], ahead: int, first_cell: int, beside: Floats | None
    ) -> Floats:
        """All that windows of *values* (cells,) without NaN are compared by, as columns in dB: (ends, features)."""
        columns = [self._windows_at(values, ends)]
        backs = [lag - ahead for lag in self._lags if lag >= ahead]
        columns += [values[ends - back][:, None] for back in backs if ends.min() >= back]
        if self.phase_periods_s:
            angle = 2.0 * np.pi * self.step_s * np.divide.outer((ends + first_cell).astype(np.float64), np.array(self.phase_periods_s))
            columns += [self.phase_db * np.cos(angle), self.phase_db * np.sin(angle)]
        if beside is not None:
            columns.append(beside[ends - self.window + 1])
        return np.concatenate(columns, axis=1)

    def _surroundings(self, cells: int, ahead: int, first_cell: int) -> Floats | None:
        """Exogenous columns beside every window of so many cells, in dB as they count: (cells - window + 1, columns)."""
        if self.exogenous is None:
            return None
        ends = np.arange(first_cell + self.window - 1, first_cell + cells, dtype=np.float64)
        found = self.exogenous.beside(ends, ahead, self.step_s)
        return np.asarray(found * (self.exogenous_db / np.maximum(found.std(axis=0), 1e-9)))

    def _neighbours(self, state: KnnState, values: Floats, ahead: int) -> Neighbours:
        """The k nearest windows with a known target: index of their last cell, mean squared difference in dB^2, operations."""
        m, last = self.window, len(values) - 1
        rows = last + 2 - m - ahead  # windows that end at m - 1 … last - ahead
        if rows <= 0:
            return Neighbours(np.empty(0, np.intp), np.empty(0), 0)
        complete = not state.series.missing
        if self.search != "brute" and complete:
            return self._searched(state, values, last - ahead)
        gap = windows_of(values, m)[:rows] - values[-m:]
        counts: Floats | None = None
        if not complete:
            known = gap == gap
            gap[~known] = 0.0
            counts = known.sum(axis=1, dtype=np.float64)
        squares: Floats = np.einsum("ij,ij->i", gap, gap)
        if self.mode == "centered":
            total = gap.sum(axis=1)
            squares = np.maximum(squares - total * total / (m if counts is None else np.maximum(counts, 1.0)), 0.0)
        operations = rows * m
        ends = np.arange(m - 1, last - ahead + 1)
        allowed: NDArray[np.bool_] | None = None
        if counts is not None:
            targets = values[m - 1 + ahead :]
            allowed = (counts >= self.present * m) & (targets == targets)
        if self._lags or self.phase_periods_s or self.exogenous is not None:
            weights = np.full(rows, float(m)) if counts is None else counts
            operations += self._periodic(values, ahead, squares, weights)
            beside = self._surroundings(len(values), ahead, state.series.first_cell)
            if beside is not None:
                squares += ((beside[:rows] - beside[-1]) ** 2).sum(axis=1)
                weights += beside.shape[1]
                operations += beside.size
            counts = weights
        if allowed is not None:
            assert counts is not None
            ends, squares, counts = ends[allowed], squares[allowed], counts[allowed]
        squares /= m if counts is None else counts
        chosen = self._apart(squares, ends) if self.exclusion else nearest(squares, ends, self.k)
        return Neighbours(*chosen, operations)

    @cached_property
    def _lags(self) -> tuple[int, ...]:
        return tuple(cells_of(lag_s, self.step_s) for lag_s in self.same_phase_s)

    @cached_property
    def _phase(self) -> Floats:
        """Sum of squared phase differences of two windows 0, 1, … `max_cells` cells apart, over all periods, in dB^2."""
        apart = np.arange(self.max_cells + 1)
        total = np.zeros(len(apart))
        for period_s in self.phase_periods_s:  # (cos a - cos b)^2 + (sin a - sin b)^2 = 2 (1 - cos(a - b))
            total += 2.0 * self.phase_db**2 * (1.0 - np.cos(2.0 * np.pi * self.step_s * apart / period_s))
        return total

    def _periodic(self, values: Floats, ahead: int, squares: Floats, counts: Floats) -> int:
        """Add phase features and same-phase lags to the sums in place; return the components compared."""
        m, last, rows = self.window, len(values) - 1, len(squares)
        operations = 0
        if self.phase_periods_s:
            squares += self._phase[ahead : ahead + rows][::-1]
            counts += 2.0 * len(self.phase_periods_s)
            operations += rows * len(self.phase_periods_s)
        for lag in self._lags:
            back = lag - ahead  # the value one lag before a target lies so far behind the window's end
            if back < 0 or back > last or values[last - back] != values[last - back]:
                continue
            skip = max(0, back - m + 1)  # windows too old to have that value
            if skip >= rows:
                continue
            gap = values[skip + m - 1 - back : rows + m - 1 - back] - values[last - back]
            known = gap == gap
            gap[~known] = 0.0
            squares[skip:] += gap * gap
            counts[skip:] += known
            operations += rows - skip
        return operations

    def _searched(self, state: KnnState, values: Floats, last_end: int) -> Neighbours:
        """Neighbours by one of the searches that beat brute force, each with the same answer."""
        m, first = self.window, state.series.first_cell
        if self.search == "paa":
            found = paa.search(values, m, last_end, self.k)
        elif self.search == "quick":
            if state.order is None:
                state.order = WindowOrder(m)
            state.order.keep(values[:-1], first)  # finished cells only, numbered absolutely
            found = state.order.search(values[-m:], first + last_end, self.k)
            found = Neighbours(found.ends - first, found.squares, found.operations)
        else:
            if state.recurrence is None:
                from toolkit.acoustic.prediction.recurrence import Recurrence  # imports numba

                state.recurrence = Recurrence(m)
            compared = state.recurrence.follow(values, state.series.last_cell)
            found = state.recurrence.search(values, last_end, self.k)
            found = Neighbours(found.ends, found.squares, found.operations + compared)
        return Neighbours(found.ends, found.squares / m, found.operations)

    def _apart(self, squares: Floats, ends: NDArray[np.intp]) -> tuple[NDArray[np.intp], Floats]:
        """The nearest windows that end more than `exclusion` cells apart, so that k neighbours are not one episode."""
        taken: list[int] = []
        for index in np.lexsort((-ends, squares)).tolist():
            if all(abs(int(ends[index]) - int(ends[other])) > self.exclusion for other in taken):
                taken.append(index)
                if len(taken) == self.k:
                    break
        return ends[taken], squares[taken]

    def _weight(self, distances: Floats) -> Floats:
        """Weights of neighbours at *distances* (…, k) in dB; not normalised."""
        if self.weights == "inverse":
            return 1.0 / (distances + self.eps_db)
        if self.weights == "uniform":
            return np.ones(distances.shape)
        if self.weights == "gaussian":
            scale = np.maximum(np.median(distances, axis=-1, keepdims=True), self.eps_db)
            return np.exp(-0.5 * (distances / scale) ** 2)
        reach = distances.max(axis=-1, keepdims=True) * 1.0001 + self.eps_db
        return np.asarray((1.0 - (distances / reach) ** 3) ** 3)

    def _floor_db(self, state: KnnState, ahead: int) -> float:
        """Root mean square error of this forecast over the last origins before the present block of cells."""
        series = state.series
        block = series.last_cell // BLOCK
        known = state.floors_db.get(ahead)
        if known is None or known[0] != block:
            # The oldest cells are left out once the history is full, lest the floor depend on when in the block it was asked for.
            place = series.settled(block * BLOCK, self.max_cells - BLOCK)
            square, operations = self._residual(series.filled[place], ahead, series.first_cell + place.start)
            known = (block, math.sqrt(square))
            state.floors_db[ahead] = known
            state.operations += operations
        return known[1]

    def _residual(self, values: Floats, ahead: int, first_cell: int) -> tuple[float, int]:
        """Mean square error in dB^2 of forecasts made at the last origins of *values*, all at once, and the components compared.

        Missing cells are read from the shared filling here, so `present` does not enter; with too little past the answer is 0.
        """
        m, last = self.window, len(values) - 1
        first = max(m - 1 + ahead + self.k - 1, last - ahead - ORIGINS + 1)
        if first > last - ahead:
            return 0.0, 0
        windows = windows_of(values, m)
        ends = np.arange(m - 1, last + 1)
        origins = np.arange(first, last - ahead + 1)
        gap = windows[origins - m + 1]
        norms = np.einsum("ij,ij->i", windows, windows)
        squares = norms[origins - m + 1][:, None] + norms - 2.0 * gap @ windows.T
        counts = np.full(squares.shape, float(m))
        if self.mode == "centered":
            means = windows.mean(axis=1)
            squares -= m * (means[origins - m + 1][:, None] - means) ** 2
        if self.phase_periods_s:
            squares += self._phase[np.abs(origins[:, None] - ends)]
            counts += 2.0 * len(self.phase_periods_s)
        for back in (lag - ahead for lag in self._lags if lag >= ahead):
            then = np.where(ends >= back, values[np.maximum(ends - back, 0)], np.nan)
            apart = then[origins - m + 1][:, None] - then
            known = apart == apart
            squares += np.where(known, apart, 0.0) ** 2
            counts += known
        beside = self._surroundings(len(values), ahead, first_cell)
        if beside is not None:
            squares += ((beside[origins - m + 1][:, None] - beside) ** 2).sum(axis=2)
            counts += beside.shape[1]
        squares = np.maximum(squares, 0.0) / counts
        squares[ends > origins[:, None] - ahead] = np.inf
        if self.exclusion:
            rows = [self._apart(row[row < np.inf], ends[row < np.inf])[0] - m + 1 for row in squares]
            fewest = min(map(len, rows))
            chosen = np.stack([row[:fewest] for row in rows])
        else:
            chosen = np.argpartition(squares, self.k - 1, axis=1)[:, : self.k]
        weight = self._weight(np.sqrt(np.take_along_axis(squares, chosen, axis=1)))
        targets = values[np.minimum(ends[chosen] + ahead, last)]
        if self.mode == "local_linear":
            said = np.empty(len(origins))
            for index, (row, origin, u) in enumerate(zip(chosen, origins, weight, strict=True)):
                features = self._features(values, np.append(row + m - 1, origin), ahead, first_cell, beside)
                said[index] = local_linear(features[:-1], features[-1], targets[index], u / u.sum(), self.ridge)[0]
        else:
            targets = moved(self.mode, targets, windows[chosen], gap)
            said = (weight * targets).sum(axis=1) / weight.sum(axis=1)
        width = m + len(self.phase_periods_s) + len(self._lags)
        return float(np.mean((said - values[origins + ahead]) ** 2)), squares.size * width
