"""Exact nearest windows of consecutive queries by a recurrence: O(1) per window and query, whatever the window's length.

With D[L] = sum_c (x[t-c] - x[t-c-L])^2 over the m cells of the latest window and of the one L cells older, a cell that comes changes one
term at either end. Here the sums run over the older part of the latest window alone, the m - S cells that are still in it S - 1 cells
later. So they bound the distances of S queries from below, and a pass every S cells will do: it brings a block of sums to the
registers once for S cells, and keeps the least of each block. A query compares in full only windows whose bound is not above
the k-th distance; the neighbours of the query before, which are near as a rule, tell what that is at most. All horizons share the sums: a
horizon of h cells reads lags from h on.

Rounding errors of the sums add up; so with every pass some are worked out afresh, all of them within `REFRESH` cells, and a bound counts
only with a `slack` above what rounding can have done. Distances are always worked out in full: the answer is exact.

The passes are compiled by numba (a few seconds the first time, then kept on disk); who does not ask for this search does not import
this module.

Source: the recurrence is that of STOMP (Zhu et al. 2016) without its normalisation; sums over a part of the window, rolling refresh
and exact comparison at the end are ours. Departures: series without missing cells only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numba
import numpy as np

from toolkit.acoustic.prediction.search import Floats, Ints, Neighbours

BLOCK = 128
REFRESH = 1024
"""Cells within which every sum has been worked out afresh."""
ROUNDING = 8.0 * REFRESH * float(np.finfo(np.float64).eps)
"""What rounding can do to a sum until it is worked out afresh, as a share of the largest sum that there could be."""


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
    _row: Floats = field(default_factory=lambda: np.empty(0))
    """The cells, newest first from `_head` on: both terms of the recurrence then run forward through memory."""
    _head: int = 0
    _sums: Floats = field(default_factory=lambda: np.zeros(BLOCK))
    _least: Floats = field(default_factory=lambda: np.full(1, np.inf))
    _hints: Ints = field(default_factory=lambda: np.empty(0, np.intp))
    """Lags of the neighbours found last."""

    @property
    def period(self) -> int:
        """S: cells from one pass to the next."""
        return max(1, self.m // 8)

    @property
    def width(self) -> int:
        """Cells that the sums run over."""
        return self.m - self.period

    @property
    def slack(self) -> float:
        """Bound on the rounding error of any sum, in dB^2."""
        return ROUNDING * self.m * (self._high - self._low) ** 2

    def sums(self) -> tuple[Floats, int]:
        """Sums (known lags,) in dB^2, the nearest lag first (a view), and the absolute number of the newest cell in them."""
        return self._sums[: self._known], self.last_cell - self._since - 1

    def follow(self, values: Floats, last_cell: int) -> int:
        """Take in that the series now is *values* (cells,), the newest being number *last_cell*; return the components compared.

        Cells come one after the other, and the newest of the last call may have changed since. After more than m new cells all sums
        are worked out afresh.
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
            self._more_cells(self._row[self._head :][: size + 2 * self.m][::-1])  # the next pass still takes some that are gone from values
        for place in range(size - steps - 1, size):  # the first is the cell that was the newest: it may have had more samples since
            value = values.item(place)
            self._row[self._head - (place - (size - steps - 1))] = value
            if value < self._low:
                self._low = value
            elif value > self._high:
                self._high = value
        self._head -= steps
        self._since += steps
        return self._pass() if self._since >= self.period else 0

    def search(self, values: Floats, last_end: int, k: int) -> Neighbours:
        """Return the same as `brute` over all windows of *values* that end at cell *last_end* or before it; after `follow`."""
        last = len(values) - 1
        k = max(0, min(k, last_end - self.m + 2))
        lags, squares = np.empty(k, np.intp), np.empty(k)
        if not k:
            return Neighbours(lags, squares, 0)
        compared = _search(
            self._row, self._head, self.m, self._sums, self._least, self._known, self.lags, last - last_end, self._since + 1,
            self.slack, self._hints, lags, squares,
        )
        self._hints = lags
        return Neighbours(last - lags, squares, self.lags // BLOCK + compared)

    def _start(self, values: Floats) -> int:
        """All sums from nothing."""
        self._more_cells(values)
        self._low, self._high = float(values.min()), float(values.max())
        self.lags = len(values) - self.m
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
        self._cursor = _advance(
            self._row, self._head, self.width, self._since, self._sums, self._least, self._known, self.lags, self._cursor, share
        )
        self.renewed += fresh
        self._known, self._since = self.lags, 0
        return compared

    def _more_cells(self, values: Floats) -> None:
        """Room for as many cells again as there are *values*, which are put in; and for a block behind them, which a pass may read."""
        row = np.zeros(2 * (len(values) + BLOCK + self.m))
        self._head = len(values) + BLOCK + self.m
        row[self._head : self._head + len(values)] = values[::-1]
        self._row = row

    def _more_sums(self) -> None:
        room = -(-2 * self.lags // BLOCK) * BLOCK
        sums, least = np.zeros(room), np.full(room // BLOCK, np.inf)
        sums[: len(self._sums)], least[: len(self._least)] = self._sums, self._least
        self._sums, self._least = sums, least


@numba.njit(cache=True, fastmath={"nnan", "nsz", "reassoc"})
def _between(row, first, cells, lag):  # type: ignore[no-untyped-def]
    """Sum of squared differences of the *cells* from place *first* on and those *lag* older."""
    total = 0.0
    for c in range(first, first + cells):
        gap = row[c] - row[c + lag]
        total += gap * gap
    return total


@numba.njit(cache=True, fastmath={"nnan", "nsz"})
def _advance(row, head, width, steps, sums, least, known, lags, cursor, share):  # type: ignore[no-untyped-def]
    """Bring sums up to the cell before the newest, which is at place *head*.

    The first *known* lags move on by *steps* cells, those up to *lags* are new, and *share* more from *cursor* on in turn are worked out
    afresh. Returns where the next turn begins. Sums and least values behind *known* in its last block mean nothing until they are new.
    """
    moved = np.empty(BLOCK)
    for block in range((known + BLOCK - 1) // BLOCK):
        start = block * BLOCK
        here = sums[start : start + BLOCK]
        for i in range(BLOCK):
            moved[i] = here[i]
        for step in range(steps):
            comes = head + steps - step  # the oldest first
            goes = comes + width
            new, gone = row[comes], row[goes]
            come, left = row[comes + 1 + start : comes + 1 + start + BLOCK], row[goes + 1 + start : goes + 1 + start + BLOCK]
            for i in range(BLOCK):
                first, last = new - come[i], gone - left[i]
                moved[i] += first * first - last * last
        for i in range(BLOCK):
            here[i] = moved[i]
        half = BLOCK // 2  # the least by halves: a loop over all would wait for each comparison
        while half:
            for i in range(half):
                moved[i] = moved[i] if moved[i] < moved[i + half] else moved[i + half]
            half //= 2
        least[block] = moved[0]
    for lag in range(known + 1, lags + 1):
        if (lag - 1) % BLOCK == 0:
            least[(lag - 1) // BLOCK] = np.inf
        _enter(row, head, width, sums, least, lag)
    for _ in range(share):
        cursor = cursor + 1 if cursor < lags else 1
        _enter(row, head, width, sums, least, cursor)
    return cursor


@numba.njit(cache=True)
def _enter(row, head, width, sums, least, lag):  # type: ignore[no-untyped-def]
    """Work out one sum afresh. The least of its block may stay below the truth by a rounding error, never above it."""
    total = _between(row, head + 1, width, lag)
    sums[lag - 1] = total
    block = (lag - 1) // BLOCK
    least[block] = min(least[block], total)


@numba.njit(cache=True)
def _search(row, head, m, sums, least, known, lags, first, newer, slack, hints, best_lags, best):  # type: ignore[no-untyped-def]
    """Put the nearest of the lags >= *first* into *best_lags*, ties the more recent first, and their sums into *best*.

    The *newer* newest cells are not in *sums*. Returns the components compared.
    """
    k = len(best)
    best[:] = np.inf
    place, compared = 0, 0
    for lag in hints:  # k different windows: the k-th distance is not above the largest of theirs
        if place < k and first <= lag <= lags:
            best[place] = _between(row, head, m, lag)
            place += 1
            compared += m
    bound = best.max()
    best[:] = np.inf
    for block in range((first - 1) // BLOCK, (known + BLOCK - 1) // BLOCK):
        if least[block] > bound + slack:
            continue
        for index in range(max(first - 1, block * BLOCK), min(known, (block + 1) * BLOCK)):
            if sums[index] <= bound + slack:
                compared += newer
                if sums[index] + _between(row, head, newer, index + 1) > bound + slack:
                    continue
                compared += m
                total = _between(row, head, m, index + 1)
                if total < best[k - 1]:
                    _insert(best, best_lags, total, index + 1)
                    bound = min(bound, best[k - 1])
    for lag in range(max(first, known + 1), lags + 1):
        compared += m
        total = _between(row, head, m, lag)
        if total < best[k - 1]:
            _insert(best, best_lags, total, lag)
    return compared


@numba.njit(cache=True)
def _insert(best, best_lags, total, lag):  # type: ignore[no-untyped-def]
    """Put *total* into its place; an equal one that came before is more recent and stays ahead."""
    place = len(best) - 1
    while place > 0 and best[place - 1] > total:
        best[place], best_lags[place] = best[place - 1], best_lags[place - 1]
        place -= 1
    best[place], best_lags[place] = total, lag
