"""One link's SNR on a regular grid, kept as samples come.

Cell c covers the absolute times [c·step, (c+1)·step). Its value is the mean in dB of its samples; a cell without samples is
missing (NaN), never 0 dB; the unfinished cell is visible as the latest value. A *censored* sample (a frame was due and not
heard, so the SNR was at or below a level) counts as that level less a margin, 3 dB by default, for every predictor alike; a cell
that holds only such samples is flagged, and any real sample in the cell replaces them.

Methods that cannot do with missing cells read `filled`: gaps of at most `max_gap` cells are bridged by a straight line between
their neighbours, longer gaps hold the mean of all cells heard before them. This is the same for every method that needs it.

Source: ours, for the regular series that nearest-neighbour regression needs. Departures: none to speak of; the paper's own
treatment of gaps is not known to us.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from toolkit.acoustic.prediction import Forecast
from toolkit.errors import CausalityError

Floats = NDArray[np.float64]

MarginDb = Annotated[float, Field(ge=0, description="dB below its level at which a censored sample is entered")]
MaxCells = Annotated[int, Field(ge=16, description="grid cells of history kept per link")]

PRIOR_STD_DB = 6.0
"""Standard deviation that a link's SNR is taken to have until `YOUNG_CELLS` of it were heard."""
YOUNG_CELLS = 8
MAX_GAP_CELLS = 6
"""Longest gap bridged by a straight line, in cells (3 h at half-hour steps: about half the shortest period looked for)."""


class CellBuffer:
    """A growing row of numbers of which at least the last *limit* are kept in one contiguous array, O(1) amortised."""

    __slots__ = ("_data", "_hi", "_lo", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._data: Floats = np.empty(min(64, 2 * limit))
        self._lo = 0
        self._hi = 0

    def __len__(self) -> int:
        return self._hi - self._lo

    def append(self, value: float) -> None:
        if self._hi == len(self._data):
            self._make_room()
        self._data[self._hi] = value
        self._hi += 1
        if self._hi - self._lo > self.limit:
            self._lo += 1

    def set_last(self, value: float) -> None:
        self._data[self._hi - 1] = value

    def view(self) -> Floats:
        """The kept numbers, oldest first; a view, to be read at once and not changed."""
        return self._data[self._lo : self._hi]

    def _make_room(self) -> None:
        kept = self.view()
        fresh = self._data if 2 * len(kept) <= len(self._data) else np.empty(min(2 * len(self._data), 2 * self.limit))
        fresh[: len(kept)] = kept
        self._data, self._lo, self._hi = fresh, 0, len(kept)


def cells_of(span_s: float, step_s: float) -> int:
    """A span of time in whole cells, to the nearest (24.84 h at half-hour steps is 50 cells, 0.16 h too long), at least 1."""
    return max(1, round(span_s / step_s))


def span_cells(cells: int | None, span_s: float, step_s: float, most: int) -> int:
    """*cells* where they are given, else the span in cells, at most *most*: a fine step is not to make a window of thousands."""
    return cells if cells is not None else min(most, cells_of(span_s, step_s))


def spread_of(values: Floats) -> float:
    """Standard deviation in dB of *values* (n,) without NaN; `PRIOR_STD_DB` while there are fewer than `YOUNG_CELLS`."""
    return float(values.std()) if len(values) >= YOUNG_CELLS else PRIOR_STD_DB


@dataclass(slots=True)
class SnrSeries:
    """The grid of one link; see the module's text for what a cell holds."""

    step_s: float
    margin_db: float = 3.0
    max_cells: int = 2048
    max_gap: int = MAX_GAP_CELLS
    last_cell: int = -1  # absolute number of the latest cell with a sample
    samples: int = 0  # all samples so far
    missing: int = 0  # cells ever skipped; 0 lets readers take the fast way
    _in_cell: int = 0
    _mean: float = 0.0
    _censored: bool = False
    _closed_sum: float = 0.0  # over heard cells that are finished
    _closed_count: int = 0
    _closed_mean: float = 0.0
    _closed_m2: float = 0.0  # sum of squares about that mean (Welford)
    _gap: int = 0  # missing cells just before the last one
    _values: CellBuffer = field(init=False)
    _filled: CellBuffer = field(init=False)
    _flags: CellBuffer = field(init=False)

    def __post_init__(self) -> None:
        self._values = CellBuffer(self.max_cells)
        self._filled = CellBuffer(self.max_cells)
        self._flags = CellBuffer(self.max_cells)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def values(self) -> Floats:
        """(cells,) in dB, oldest first, NaN where nothing was due."""
        return self._values.view()

    @property
    def filled(self) -> Floats:
        """(cells,) in dB without NaN."""
        return self._filled.view() if self.missing else self._values.view()

    @property
    def censored(self) -> NDArray[np.bool_]:
        """(cells,) true where a cell holds censored samples only."""
        return np.asarray(self._flags.view() != 0.0)

    @property
    def scale_db(self) -> float:
        """Standard deviation in dB of all finished cells that were heard; `PRIOR_STD_DB` while they are fewer than `YOUNG_CELLS`.

        What has no unit of its own, a prior or the eps of a weight, is counted in this, so that a series in another unit, or with an
        offset, is forecast as well.
        """
        if self._closed_count < YOUNG_CELLS:
            return PRIOR_STD_DB
        return math.sqrt(self._closed_m2 / self._closed_count)

    @property
    def latest_db(self) -> float:
        return self._mean

    @property
    def latest_censored(self) -> bool:
        return self._censored

    @property
    def first_cell(self) -> int:
        """Absolute number of the oldest kept cell."""
        return self.last_cell - len(self._values) + 1

    def update(self, t_s: float, snr_db: float, censored: bool = False) -> int:
        """Enter a sample; return how many cells were opened (0 when it fell into the latest one)."""
        if not math.isfinite(snr_db):
            raise ValueError(f"an SNR sample must be finite, not {snr_db}")
        cell = math.floor(t_s / self.step_s)
        value = snr_db - self.margin_db if censored else snr_db
        if not self.samples or cell > self.last_cell:
            return self._open(cell, value, censored)
        if cell < self.last_cell:
            raise CausalityError(f"a sample of {t_s} s came after one of cell {self.last_cell} ({self.step_s} s each)")
        self.samples += 1
        if censored and not self._censored:
            return 0  # the cell was heard: one lost frame does not lower the mean of those received
        if self._censored and not censored:
            self._censored, self._in_cell = False, 0  # a real sample says more than any bound
            self._flags.set_last(0.0)
        self._in_cell += 1
        self._mean = value if self._in_cell == 1 else self._mean + (value - self._mean) / self._in_cell
        self._values.set_last(self._mean)
        if self.missing:
            self._filled.set_last(self._mean)
            self._bridge()
        return 0

    def _open(self, cell: int, value: float, censored: bool) -> int:
        opened = 1
        if self.samples:
            opened = cell - self.last_cell
            self._closed_sum += self._mean
            self._closed_count += 1
            gap = self._mean - self._closed_mean
            self._closed_mean += gap / self._closed_count
            self._closed_m2 += gap * (self._mean - self._closed_mean)
        self._gap = opened - 1
        if self._gap:
            if not self.missing:  # until now both rows were one; copy it once
                for old in self._values.view():
                    self._filled.append(old)
            self.missing += self._gap
            level = self._closed_sum / self._closed_count
            for _ in range(min(self._gap, self.max_cells)):
                self._values.append(math.nan)
                self._filled.append(level)
                self._flags.append(0.0)
        self._values.append(value)
        self._flags.append(float(censored))
        self.last_cell, self._mean, self._in_cell, self._censored = cell, value, 1, censored
        self.samples += 1
        if self.missing:
            self._filled.append(value)
            self._bridge()
        return opened

    def _bridge(self) -> None:
        """Draw the straight line over the gap before the latest cell, whose mean may still move."""
        if 0 < self._gap <= self.max_gap:
            row = self._filled.view()
            if len(row) >= self._gap + 2:
                start = row[-self._gap - 2]
                row[-self._gap - 1 : -1] = start + (self._mean - start) * np.arange(1, self._gap + 1) / (self._gap + 1)

    def settled(self, before_cell: int, limit: int) -> slice:
        """Where in `filled` and `values` the last *limit* cells before absolute cell *before_cell* lie, up to the last heard of them.

        What is worked out once and kept may read these alone: no later sample of a cell from *before_cell* on changes them. Missing
        cells at their end do not belong to them, since the line drawn over a gap moves with the mean of the cell that ends it. Once
        the history is full, the same cells are found as long as *limit* is at most `max_cells` less the cells since *before_cell*.
        """
        count = max(0, len(self) - (self.last_cell - before_cell) - 1)
        start = max(0, count - limit)
        while self.missing and count > start and math.isnan(self.values[count - 1]):
            count -= 1
        return slice(start, count)

    def horizon(self, at_s: float) -> tuple[int, float]:
        """How far *at_s* lies from the latest cell: whole cells (at least 1), and the weight of that forecast.

        The weight is 1 for a later cell. Within the latest cell the present is asked for: the answer is
        (1 - weight)·latest + weight·(one-cell forecast), the weight being how much of the cell has passed at *at_s*.
        """
        place = at_s / self.step_s
        ahead = math.floor(place) - self.last_cell
        if ahead >= 1:
            return ahead, 1.0
        if ahead < 0:
            raise CausalityError(f"a forecast for {at_s} s was asked after a sample of cell {self.last_cell} ({self.step_s} s each)")
        return 1, place - self.last_cell

    def blend(self, forecast: Forecast, weight: float) -> Forecast:
        """Apply `horizon`'s weight. The spread stays that of one cell ahead, which the present does not exceed."""
        if weight >= 1.0:
            return forecast
        return forecast._replace(mean_db=self._mean + weight * (forecast.mean_db - self._mean))

    def forecast(self, at_s: float, ahead: Callable[[int], Forecast]) -> Forecast | None:
        """Answer for *at_s* with *ahead*, which forecasts a whole number of cells; None before any sample."""
        if not self.samples:
            return None
        cells, weight = self.horizon(at_s)
        return self.blend(ahead(cells), weight)
