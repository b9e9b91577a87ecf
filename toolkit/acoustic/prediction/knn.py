"""kNN regression on the SNR series of a link: what followed when it last looked like this?

After arXiv 2108.05057 as far as its abstract goes; window, k, weights and bounds are this project's choice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pydantic import Field

from toolkit.acoustic.prediction import Forecast, Predictor, Truth
from toolkit.acoustic.prediction.residuals import last_value
from toolkit.acoustic.prediction.search import Neighbours, WindowOrder, brute, nearest
from toolkit.acoustic.prediction.series import Floats, MarginDb, MaxCells, SnrSeries, cells_of
from toolkit.core.work import Work

BLOCK = 24
"""The residual floor is worked out anew every so many cells, from the cells before them."""
ORIGINS = 24
"""Past forecasts that the residual floor is taken from."""


@dataclass(slots=True)
class KnnState:
    """The grid of one link, the ordered windows of the quick search, and what was worked out per block of cells."""

    series: SnrSeries
    order: WindowOrder | None = None
    ordered_to: int = -1
    operations: int = 0
    floors_db: dict[int, tuple[int, float]] = field(default_factory=dict)


@final
class Knn(Predictor):
    """Mean of what followed the k most similar windows of the past, weighted by 1 / (distance + eps).

    The distance is the root mean square difference in dB over the cells that both windows have (at least `present` of them). A
    window that ends at cell i may be used at cell n only when its target i + h is known: i + h <= n. The spread is that of the
    neighbours' targets, and not below the root mean square error of the same forecast over the last day.

    Three ways to use periods, each of which can be switched off: a window that spans half a day or more finds the phase by itself;
    `phase_periods_s` adds beta cos and beta sin of each period to the window; `same_phase_s` adds the value one such lag before the
    target, when it is known.
    """

    window: int = Field(24, ge=1, le=2000, description="cells m per window")
    k: int = Field(5, ge=1, le=500, description="neighbours")
    weights: Literal["inverse", "uniform", "gaussian", "tricube"] = "inverse"
    eps_db: float = Field(0.1, gt=0, description="eps of the inverse weight")
    present: float = Field(0.7, gt=0, le=1, description="least share of cells that two windows must have in common")
    exclusion: int = Field(0, ge=0, description="after taking a window, others that end within so many cells of it are banned")
    phase_periods_s: tuple[float, ...] = Field((), description="periods whose phase is added to the window, such as 44714, 86400")
    phase_db: float = Field(3.0, ge=0, description="beta: weight of the phase")
    same_phase_s: tuple[float, ...] = Field((86_400.0,), description="lags before the target whose value is added to the window")
    search: Literal["brute", "quick"] = Field("brute", description="brute is faster in wall time up to some thousand windows")
    margin_db: MarginDb = 3.0
    max_cells: MaxCells = 2048

    def init(self, truth: Truth | None = None) -> KnnState:
        return KnnState(SnrSeries(self.step_s, self.margin_db, self.max_cells))

    def update(self, state: KnnState, t_s: float, snr_db: float, *, censored: bool = False) -> None:
        state.series.update(t_s, snr_db, censored)

    def predict(self, state: KnnState, at_s: float) -> Forecast | None:
        return state.series.forecast(at_s, lambda ahead: self._ahead(state, ahead))

    def work(self, state: KnnState) -> Work:
        """Subtract, multiply, add per component that the last search looked at, and the windows read once."""
        operations = state.operations or max(1, (len(state.series) - self.window) * self.window)
        return Work(3.0 * operations, 8.0 * operations, 16.0 * self.k)

    def _ahead(self, state: KnnState, ahead: int) -> Forecast:
        series = state.series
        values = series.values
        found = self._neighbours(state, values, ahead)
        if len(found.ends) < self.k:
            return last_value(series, ahead)
        targets = values[found.ends + ahead]
        distances = np.sqrt(found.squares)
        weight = self._weight(distances)
        total = float(weight.sum())
        mean = float(weight @ targets) / total
        variance = float(weight @ (targets - mean) ** 2) / total
        return Forecast(mean, max(math.sqrt(variance), self._floor_db(state, ahead)))

    def _neighbours(self, state: KnnState, values: Floats, ahead: int) -> Neighbours:
        """The k nearest windows with a known target; squares are mean squared differences in dB^2."""
        m, last = self.window, len(values) - 1
        if last + 1 < m + ahead:
            return Neighbours(np.empty(0, np.intp), np.empty(0), 0)
        query = values[-m:]
        plain = not (self.phase_periods_s or self.same_phase_s or self.exclusion or state.series.missing)
        if plain and self.search == "quick" and len(values) < self.max_cells:
            return self._quick(state, values, query, last - ahead)
        windows = sliding_window_view(values, m)
        if plain:
            found = brute(windows, query, last - ahead, self.k)
            state.operations = found.operations
            return Neighbours(found.ends, found.squares / m, found.operations)
        ends = np.arange(m - 1, last - ahead + 1)
        squares, counts = self._sums(windows[: len(ends)], query, complete=not state.series.missing)
        allowed = counts >= self.present * m
        squares, counts = self._periodic(state, values, ends, ahead, squares, counts)
        allowed &= values[ends + ahead] == values[ends + ahead]  # the target was heard
        ends, squares = ends[allowed], squares[allowed] / counts[allowed]
        state.operations = len(ends) * (m + 2 * len(self.phase_periods_s) + len(self.same_phase_s))
        if self.exclusion:
            return self._spread_out(ends, squares)
        return Neighbours(*nearest(squares, ends, self.k), state.operations)

    @staticmethod
    def _sums(windows: Floats, query: Floats, *, complete: bool) -> tuple[Floats, Floats]:
        """Sums of squared differences over the cells that both have, and how many those are."""
        gap = windows - query
        if complete:
            return np.einsum("ij,ij->i", gap, gap), np.full(len(gap), float(len(query)))
        known = gap == gap
        gap = np.where(known, gap, 0.0)
        return np.einsum("ij,ij->i", gap, gap), np.maximum(known.sum(axis=1), 1).astype(np.float64)

    def _periodic(
        self, state: KnnState, values: Floats, ends: NDArray[np.intp], ahead: int, squares: Floats, counts: Floats
    ) -> tuple[Floats, Floats]:
        """Add phase features and same-phase lags to the sums."""
        last = len(values) - 1
        for period_s in self.phase_periods_s:
            turn = 2.0 * np.pi * (last - ends) * self.step_s / period_s
            squares = squares + 2.0 * self.phase_db**2 * (1.0 - np.cos(turn))  # (cos - cos)^2 + (sin - sin)^2
            counts = counts + 2.0
        for lag_s in self.same_phase_s:
            back = cells_of(lag_s, self.step_s) - ahead
            if back < 0 or last - back < 0 or values[last - back] != values[last - back]:
                continue
            then = np.where(ends >= back, values[np.maximum(ends - back, 0)], np.nan)
            gap = then - values[last - back]
            known = gap == gap
            squares = squares + np.where(known, gap, 0.0) ** 2
            counts = counts + known
        return squares, counts

    def _quick(self, state: KnnState, values: Floats, query: Floats, last_end: int) -> Neighbours:
        """Bring the order up to date (windows of finished cells only) and search it."""
        if state.order is None:
            state.order = WindowOrder(self.window)
            state.ordered_to = self.window - 2
        for end in range(state.ordered_to + 1, len(values) - 1):
            state.order.add(values[end - self.window + 1 : end + 1], end)
            state.ordered_to = end
        found = state.order.search(query, last_end, self.k)
        state.operations = found.operations
        return Neighbours(found.ends, found.squares / self.window, found.operations)

    def _spread_out(self, ends: NDArray[np.intp], squares: Floats) -> Neighbours:
        """The nearest windows that end more than `exclusion` cells apart, so that k neighbours are not one episode."""
        taken: list[int] = []
        for index in np.lexsort((-ends, squares)).tolist():
            if all(abs(int(ends[index]) - int(ends[other])) > self.exclusion for other in taken):
                taken.append(index)
                if len(taken) == self.k:
                    break
        return Neighbours(ends[taken], squares[taken], len(ends) * self.window)

    def _weight(self, distances: Floats) -> Floats:
        if self.weights == "inverse":
            return 1.0 / (distances + self.eps_db)
        if self.weights == "uniform":
            return np.ones(len(distances))
        if self.weights == "gaussian":
            scale = max(float(np.median(distances)), self.eps_db)
            return np.exp(-0.5 * (distances / scale) ** 2)
        reach = float(distances.max()) * 1.0001 + self.eps_db
        return (1.0 - (distances / reach) ** 3) ** 3

    def _floor_db(self, state: KnnState, ahead: int) -> float:
        """Root mean square error of this forecast over the day before the present block of cells."""
        series = state.series
        block = series.last_cell // BLOCK
        known = state.floors_db.get(ahead)
        if known is None or known[0] != block:
            past = series.filled[: len(series) - (series.last_cell - block * BLOCK) - 1]
            known = (block, self._residual_db(past[-(self.max_cells - BLOCK) :], ahead))
            state.floors_db[ahead] = known
        return known[1]

    def _residual_db(self, values: Floats, ahead: int) -> float:
        """RMS error in dB of plain kNN forecasts made at the last origins of *values*, all at once; 0 with too little past."""
        m, last = self.window, len(values) - 1
        first = max(m - 1 + ahead + self.k - 1, last - ahead - ORIGINS + 1)
        if first > last - ahead:
            return 0.0
        windows = sliding_window_view(values, m)
        origins = np.arange(first, last - ahead + 1)
        queries = windows[origins - m + 1]
        norms = np.einsum("ij,ij->i", windows, windows)
        squares = norms[origins - m + 1][:, None] + norms[None, :] - 2.0 * queries @ windows.T
        ends = np.arange(m - 1, last + 1)
        squares[ends[None, :] > origins[:, None] - ahead] = np.inf
        chosen = np.argpartition(squares, self.k - 1, axis=1)[:, : self.k]
        distances = np.sqrt(np.maximum(np.take_along_axis(squares, chosen, axis=1), 0.0) / m)
        weight = 1.0 / (distances + self.eps_db)
        said = (weight * values[np.minimum(ends[chosen] + ahead, last)]).sum(axis=1) / weight.sum(axis=1)
        return float(np.sqrt(np.mean((said - values[origins + ahead]) ** 2)))
