"""Exact nearest windows of consecutive queries by a recurrence: O(1) per window and query, whatever the window's length.

With D[L] = sum_c (x[t-c] - x[t-c-L])^2 over the m cells of the latest window and of the one L cells older, a cell that comes changes one
term at either end. Here the sums run over the older part of the latest window alone, the m - S cells that are still in it S - 1 cells
later. So they bound the distances of S queries from below, and a pass every S cells will do: it brings a block of sums to the
registers once for S cells, and keeps the least of each block. A query compares in full only windows whose bound is not above
the k-th distance; the neighbours of the query before, which are near as a rule, tell what that is at most. All horizons share the sums: a
horizon of h cells reads lags from h on.

Where cells are missing, a sum runs over the cells that both windows have, and beside it their number is kept in the same way. A distance
is a mean over the cells in common, and over what else is compared (values one same-phase lag before the target, phases): these terms are
squares, so the sums bound such distances too.

Rounding errors of the sums add up; so with every pass some are worked out afresh, all of them within `REFRESH` cells, and a bound counts
only with a `slack` above what rounding can have done. Distances are always worked out in full: the answer is exact.

The passes are compiled by numba (a few seconds the first time, then kept on disk, in `sweeps`); who does not ask for this search does
not import this module.

Source: the recurrence is that of STOMP (Zhu et al. 2016) without its normalisation; sums over a part of the window, counts, rolling refresh
and exact comparison at the end are ours. Departures: none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from toolkit.acoustic.prediction.knn_distance import OriginNeighbours
from toolkit.acoustic.prediction.search import Floats, Ints, Neighbours
from toolkit.acoustic.prediction.sweeps import BLOCK, SWEEP, advance, answer, nearest_lags, nearest_of_origins

REFRESH = 1024
"""Cells within which every sum has been worked out afresh."""
ROUNDING = 8.0 * REFRESH * float(np.finfo(np.float64).eps)
"""What rounding can do to a sum until it is worked out afresh, as a share of the largest sum that there could be."""


class Beside(NamedTuple):
    """What windows are compared by beside their cells."""

    backs: Ints
    """Cells before a window's end of values that are compared too: same-phase lags less the horizon."""
    phase: Floats
    """Squared phase differences of windows 0, 1, … cells apart, for phases of weight 1; empty without phases."""
    phase_square: float
    """Square of the phases' weight in dB^2."""
    phase_weight: float
    """Components that the phases count as."""


class Weighing(NamedTuple):
    """What is made of k neighbours: weights 1 / (distance + eps), eps in dB or, if negative, a share of the mean distance."""

    k: int
    eps_db: float
    eps_share: float
    delta: bool
    """Whether targets move by the difference of the windows' last cells."""


NOTHING = Beside(np.empty(0, np.intp), np.empty(0), 0.0, 0.0)


@dataclass
class Recurrence:
    """What is kept of one series for the nearest windows of m cells, brought up to date by `follow`."""

    m: int
    last_cell: int = 0
    """Absolute number of the newest cell."""
    lags: int = 0
    """Windows older than the latest: those of lags 1 … `lags`."""
    renewed: int = 0
    """Sums worked out afresh so far."""
    _known: int = 0
    """Lags that have a sum; the few that came since the last pass have none yet."""
    _since: int = 0
    """Cells since the last pass: the sums end with the cell before the one that was the newest then."""
    _low: float = np.inf
    _high: float = -np.inf
    _cursor: int = 0
    _missing_cell: int = -(2**62)
    """Absolute number of the latest missing cell."""
    _row: Floats = field(default_factory=lambda: np.empty(0))
    """The cells, newest first from `_head` on, 0 where missing: both terms of the recurrence then run forward through memory."""
    _here: Floats = field(default_factory=lambda: np.empty(0))
    """1 where the cell of `_row` is there, 0 where it is missing."""
    _head: int = 0
    _sums: Floats = field(default_factory=lambda: np.zeros(BLOCK))
    _counts: Floats = field(default_factory=lambda: np.zeros(BLOCK))
    """Cells that each sum runs over."""
    _least: Floats = field(default_factory=lambda: np.full(1, np.inf))
    _hints: Ints = field(default_factory=lambda: np.empty(0, np.intp))
    """Lags of the neighbours found last."""

    period: int = field(init=False)
    """S: cells from one pass to the next."""
    width: int = field(init=False)
    """Cells that the sums run over."""

    def __post_init__(self) -> None:
        self.period = max(1, self.m // 8)
        self.width = self.m - self.period

    @property
    def slack(self) -> float:
        """Bound on the rounding error of any sum, in dB^2."""
        return ROUNDING * self.m * (self._high - self._low) ** 2 if self._high > self._low else 0.0

    @property
    def gappy(self) -> bool:
        """Whether a cell is missing among those that a sum may have in it."""
        return self._missing_cell > self.last_cell - self.lags - 2 * self.m

    def sums(self) -> tuple[Floats, int]:
        """Sums (known lags,) in dB^2, the nearest lag first (a view), and the absolute number of the newest cell in them."""
        return self._sums[: self._known], self.last_cell - self._since - 1

    def follow(self, values: Floats, last_cell: int) -> int:
        """Take in that the series now is *values* (cells, NaN missing), the newest being number *last_cell*.

        Cells come one after the other, and the newest of the last call may have changed since. After more than m new cells all sums
        are worked out afresh. Returns the components compared.
        """
        size = len(values)
        count = size - self.m
        steps = last_cell - self.last_cell
        self.last_cell = last_cell
        if count <= 0:
            self.lags = 0
            return 0
        if not self.lags or not 0 <= steps <= self.m:
            return self._start(values)
        self.lags = count
        if steps > self._head:
            self._more_cells(size + 2 * self.m)  # the next pass still takes some that are gone from values
        place = self._head
        if steps == 1:  # as a rule
            before, value = values.item(size - 2), values.item(size - 1)
            if before == before and value == value:
                self._row[place], self._here[place] = before, 1.0
                self._row[place - 1], self._here[place - 1] = value, 1.0
                self._low, self._high = min(self._low, before, value), max(self._high, before, value)
                self._head -= 1
                self._since += 1
                return self._pass() if self._since >= self.period else 0
        for value in values[size - steps - 1 :].tolist():  # the first was the newest: it may have had more samples since
            if value == value:
                self._row[place], self._here[place] = value, 1.0
                if value < self._low:
                    self._low = value
                if value > self._high:
                    self._high = value
            else:
                self._row[place] = self._here[place] = 0.0
                self._missing_cell = last_cell - (place - self._head + steps)
            place -= 1
        self._head -= steps
        self._since += steps
        return self._pass() if self._since >= self.period else 0

    def search(self, values: Floats, last_end: int, k: int, present: float = 1.0, beside: Beside = NOTHING) -> Neighbours:
        """The k nearest windows of *values* that end at cell *last_end* or before it and have a known target; after `follow`.

        The target is as many cells after a window as the end of *values* after *last_end*. Two windows need the share *present* of the
        latest one's cells in common. Squares are means over what was compared, in dB^2.
        """
        last = len(values) - 1
        k = max(0, min(k, last_end - self.m + 2))
        lags, squares = np.empty(k, np.intp), np.empty(k)
        if not k:
            return Neighbours(lags, squares, 0)
        found, compared = nearest_lags(
            self._row, self._here, self._head, self.m, self.width, self._sums, self._counts, self._least, self._known, self.lags,
            last - last_end, self._since + 1, self.slack, present, beside.backs, beside.phase, beside.phase_square, beside.phase_weight,
            self.gappy, self._hints, lags, squares,
        )
        self._hints = lags[:found]
        return Neighbours(last - lags[:found], squares[:found], self.lags // BLOCK + compared)

    def average(
        self, values: Floats, filled: Floats, ahead: int, by: Weighing, present: float, beside: Beside
    ) -> tuple[int, int, float, float]:
        """`search` for a target *ahead* cells after the newest, and the weighted mean of what followed, with the variance about it.

        *filled* are the values with the missing ones filled in. Returns how many neighbours were found, the components compared, the
        mean in dB and the variance in dB^2; both are 0 with fewer than k neighbours.
        """
        lags, squares = np.empty(by.k, np.intp), np.empty(by.k)
        found, compared, mean, variance = answer(
            self._row, self._here, self._head, self.m, self.width, self._sums, self._counts, self._least, self._known, self.lags, ahead,
            self._since + 1, self.slack, present, beside.backs, beside.phase, beside.phase_square, beside.phase_weight, self.gappy,
            self._hints, lags, squares, values, filled, by.eps_db, by.eps_share, by.delta,
        )
        self._hints = lags if found == by.k else lags[:found]
        return found, self.lags // BLOCK + compared, mean, variance

    def _start(self, values: Floats) -> int:
        """All sums from nothing."""
        size = len(values)
        known = values == values
        self._row, self._here, self._head = np.empty(0), np.empty(0), 0
        self._more_cells(size)
        self._row[self._head : self._head + size] = np.where(known, values, 0.0)[::-1]
        self._here[self._head : self._head + size] = known[::-1]
        there = values[known]
        self._low, self._high = float(there.min()), float(there.max())
        gone = np.flatnonzero(~known)
        if len(gone):
            self._missing_cell = self.last_cell - (size - 1 - int(gone[-1]))
        self.lags = size - self.m
        self._known = self._since = self._cursor = 0
        self._hints = np.empty(0, np.intp)
        return self._pass()

    def _pass(self) -> int:
        """Bring the sums of all lags up to the newest cell."""
        if self.lags > len(self._sums):
            self._more_sums()
        share = min(self.lags, self._since * (self.lags // REFRESH + 1))
        fresh = self.lags - self._known + share
        compared = 2 * self._since * self._known + fresh * self.width
        self._cursor = advance(
            self._row, self._here, self._head, self.width, self._since, self._sums, self._counts, self._least, self._known, self.lags,
            self._cursor, share, self.gappy,
        )
        self.renewed += fresh
        self._known, self._since = self.lags, 0
        return compared

    def _more_cells(self, kept: int) -> None:
        """Room for as many cells again as are *kept* of the newest; and for a block behind them, which a pass may read."""
        room = kept + BLOCK + self.m
        for name in ("_row", "_here"):
            fresh, old = np.zeros(2 * room), getattr(self, name)[self._head :][:kept]
            fresh[room : room + len(old)] = old
            setattr(self, name, fresh)
        self._head = room

    def _more_sums(self) -> None:
        room = math.ceil(2 * self.lags / BLOCK) * BLOCK
        sums, counts, least = np.zeros(room), np.full(room, float(self.width)), np.full(room // BLOCK, np.inf)
        sums[: len(self._sums)], counts[: len(self._counts)] = self._sums, self._counts
        least[: len(self._least)] = self._least
        self._sums, self._counts, self._least = sums, counts, least


def of_origins(
    values: Floats, origins: Ints, m: int, k: int, ahead: int, present: float, beside: Beside
) -> OriginNeighbours:
    """The nearest windows of those that end at each of *origins* (rising), as `knn_distance.nearest_of_origins` finds them."""
    size = len(values)
    last = size - 1
    known = values == values
    complete = bool(known.all())
    there = values if complete else values[known]
    base = math.floor(there.mean())  # a whole number: differences of cells stay what they are, so ties stay ties
    row = np.zeros(size + SWEEP + m + int(origins[-1] - origins[0]) + 1)
    here = np.zeros(len(row))
    row[:size] = values[::-1] - base if complete else np.where(known, values - base, 0.0)[::-1]
    here[:size] = known[::-1]
    slack = ROUNDING * m * float(there.max() - there.min()) ** 2
    lags, squares = np.empty((len(origins), k), np.intp), np.full((len(origins), k), np.inf)
    found = np.zeros(len(origins), np.intp)
    compared = nearest_of_origins(
        row, here, size, m, ahead, last - origins[::-1], present, beside.backs, beside.phase, beside.phase_square, beside.phase_weight,
        slack, not complete, lags, squares, found,
    )
    return OriginNeighbours(origins[:, None] - lags[::-1], squares[::-1], found[::-1], compared)
