"""Exact nearest windows of consecutive queries by a recurrence: O(1) per window and query, whatever the window's length.

With D[L] = sum_c (x[t-c] - x[t-c-L])^2 over the m cells of the latest window and of the one L cells older, the next cell changes one term
at either end: ``D'[L] = D[L] + (x[t+1] - x[t+1-L])^2 - (x[t+1-m] - x[t+1-m-L])^2``. All horizons share these sums: a horizon of h cells
reads lags from h on. Rounding errors add up; so with every cell some lags are worked out afresh, all of them within `REFRESH` cells, and
the candidates that the sums leave are compared anew, so the answer is exact.

A pass brings the sums of `BLOCK` lags up to date at a time and keeps the least of them, so the search looks into few blocks. The passes are
compiled by numba (a few seconds the first time, then kept on disk); who does not ask for this search does not import this module.

Source: the recurrence is that of STOMP (Zhu et al. 2016) without its normalisation; rolling refresh and exact comparison at the end are
ours. Departures: series without missing cells only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numba
import numpy as np

from toolkit.acoustic.prediction.search import Floats, Ints, Neighbours, brute, windows_of

BLOCK = 256
REFRESH = 1024
"""Cells within which every sum has been worked out afresh."""
CANDIDATES = 512
"""More windows than this within the rounding of the k-th distance are left to brute force (a constant series has them)."""
ROUNDING = 8.0 * REFRESH * float(np.finfo(np.float64).eps)
"""What rounding can do to a sum until it is worked out afresh, as a share of the largest sum that there could be."""


@dataclass
class Recurrence:
    """Sums of squared differences (dB^2) of the latest window of m cells to all older ones, brought up to date by `follow`."""

    m: int
    last_cell: int = 0
    """Absolute number of the newest cell that the sums know."""
    lags: int = 0
    """Sums that hold: those of lags 1 … `lags`."""
    renewed: int = 0
    """Sums worked out afresh so far."""
    _low: float = np.inf
    _high: float = -np.inf
    _cursor: int = 0
    _row: Floats = field(default_factory=lambda: np.empty(0))
    """The cells, newest first from `_head` on: both terms of the recurrence then run forward through memory."""
    _head: int = 0
    _sums: Floats = field(default_factory=lambda: np.zeros(BLOCK))
    _least: Floats = field(default_factory=lambda: np.full(1, np.inf))
    _candidates: Ints = field(default_factory=lambda: np.empty(CANDIDATES, np.intp))

    @property
    def slack(self) -> float:
        """Bound on the rounding error of any sum, in dB^2."""
        return ROUNDING * self.m * (self._high - self._low) ** 2

    def sums(self) -> Floats:
        """(lags,) in dB^2, the nearest lag first; a view."""
        return self._sums[: self.lags]

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
        if count > len(self._sums):
            self._more_sums(count)
        if not self.lags or not 0 <= steps <= self.m:
            return self._start(values)
        compared = 0
        newest = values.item(size - 1 - steps)
        if newest != self._row.item(self._head):  # the cell that was the newest has had more samples since
            compared += count
            self._cover(newest)
            _replace(self._row, self._head, newest, self._sums, self._least, self.lags)
        for place in range(size - steps, size):
            if not self._head:
                self._more_cells(values[:place])
            newest = values.item(place)
            self._cover(newest)
            self._head -= 1
            share = count // REFRESH + 1
            known = min(self.lags, count - (size - 1 - place) - 1)
            self.lags = count - (size - 1 - place)
            self._cursor = _advance(
                self._row, self._head, newest, self.m, self._sums, self._least, known, self.lags, self._cursor, share
            )
            self.renewed += share
            compared += 2 * count + share * self.m
        return compared

    def search(self, values: Floats, last_end: int, k: int) -> Neighbours:
        """Return the same as `brute` over all windows of *values* that end at cell *last_end* or before it; after `follow`."""
        last = len(values) - 1
        first = last - last_end
        if self.lags - first + 1 >= k:
            lags, squares = np.empty(k, np.intp), np.empty(k)
            few = _search(
                self._row, self._head, self.m, self._sums, self._least, self.lags, first, 2.0 * self.slack, self._candidates, lags, squares
            )
            if few:
                return Neighbours(last - lags, squares, self.lags + self.m * k)
        return brute(windows_of(values, self.m), values[-self.m :], last_end, k)

    def _start(self, values: Floats) -> int:
        """All sums from nothing."""
        self._more_cells(values)
        self._low, self._high = float(values.min()), float(values.max())
        self.lags, self._cursor = len(values) - self.m, 0
        self.renewed += self.lags
        _start(self._row, self._head, self.m, self._sums, self._least, self.lags)
        return self.lags * self.m

    def _cover(self, value: float) -> None:
        if value < self._low:
            self._low = value
        elif value > self._high:
            self._high = value

    def _more_cells(self, values: Floats) -> None:
        """Room for as many cells again as there are *values*, which are put in."""
        self._row = np.empty(2 * len(values) + BLOCK)
        self._head = len(self._row) - len(values)
        self._row[self._head :] = values[::-1]

    def _more_sums(self, count: int) -> None:
        room = -(-2 * count // BLOCK) * BLOCK
        sums, least = np.zeros(room), np.full(room // BLOCK, np.inf)
        sums[: len(self._sums)], least[: len(self._least)] = self._sums, self._least
        self._sums, self._least = sums, least


@numba.njit(cache=True)
def _afresh(row, head, m, lag):  # type: ignore[no-untyped-def]
    """The sum of one lag."""
    total = 0.0
    for c in range(head, head + m):
        gap = row[c] - row[c + lag]
        total += gap * gap
    return total


@numba.njit(cache=True)
def _enter(row, head, m, sums, least, lag):  # type: ignore[no-untyped-def]
    """Work out one sum afresh. The least of its block may stay below the truth by a rounding error, never above it."""
    total = _afresh(row, head, m, lag)
    sums[lag - 1] = total
    block = (lag - 1) // BLOCK
    least[block] = min(least[block], total)


@numba.njit(cache=True)
def _start(row, head, m, sums, least, lags):  # type: ignore[no-untyped-def]
    least[:] = np.inf
    for lag in range(1, lags + 1):
        _enter(row, head, m, sums, least, lag)


@numba.njit(cache=True)
def _replace(row, head, new, sums, least, lags):  # type: ignore[no-untyped-def]
    """The newest value is *new* now."""
    old = row[head]
    row[head] = new
    least[:] = np.inf
    for lag in range(1, lags + 1):
        there = row[head + lag]
        total = sums[lag - 1] + ((new - there) ** 2 - (old - there) ** 2)
        sums[lag - 1] = total
        block = (lag - 1) // BLOCK
        least[block] = min(least[block], total)


@numba.njit(cache=True, fastmath={"nnan", "nsz"})
def _advance(row, head, new, m, sums, least, known, lags, cursor, share):  # type: ignore[no-untyped-def]
    """One cell on: the first *known* lags by the recurrence, those up to *lags* afresh, and *share* more from *cursor* on in turn.

    Returns where the next turn begins.
    """
    row[head] = new
    gone = row[head + m]
    for block in range((known + BLOCK - 1) // BLOCK):
        start, stop = block * BLOCK, min(known, (block + 1) * BLOCK)
        here, come, left = sums[start:stop], row[head + 1 + start : head + 1 + stop], row[head + m + 1 + start : head + m + 1 + stop]
        low = np.inf
        for index in range(len(here)):
            first, last = new - come[index], gone - left[index]
            total = here[index] + (first * first - last * last)
            here[index] = total
            low = min(low, total)
        least[block] = low
    for lag in range(known + 1, lags + 1):
        if (lag - 1) % BLOCK == 0:
            least[(lag - 1) // BLOCK] = np.inf
        _enter(row, head, m, sums, least, lag)
    for _ in range(min(share, lags)):
        cursor = cursor + 1 if cursor < lags else 1
        _enter(row, head, m, sums, least, cursor)
    return cursor


@numba.njit(cache=True)
def _search(row, head, m, sums, least, lags, first, slack, candidates, best_lags, best):  # type: ignore[no-untyped-def]
    """Put the nearest of the lags >= *first* into *best_lags*, ties the more recent first, and their exact sums into *best*.

    Two passes: the k-th least of the sums as they are, then all that come within *slack* of it, compared afresh. Returns False when
    these are more than there is room for.
    """
    k = len(best)
    best[:] = np.inf
    blocks = (lags + BLOCK - 1) // BLOCK
    for block in range((first - 1) // BLOCK, blocks):
        if least[block] >= best[k - 1]:
            continue
        for index in range(max(first - 1, block * BLOCK), min(lags, (block + 1) * BLOCK)):
            total = sums[index]
            if total < best[k - 1]:
                place = k - 1
                while place > 0 and best[place - 1] > total:
                    best[place] = best[place - 1]
                    place -= 1
                best[place] = total
    limit = best[k - 1] + slack
    count = 0
    for block in range((first - 1) // BLOCK, blocks):
        if least[block] > limit:
            continue
        for index in range(max(first - 1, block * BLOCK), min(lags, (block + 1) * BLOCK)):
            if sums[index] <= limit:
                if count == len(candidates):
                    return False
                candidates[count] = index + 1
                count += 1
    best[:] = np.inf
    for lag in candidates[:count]:
        total = _afresh(row, head, m, lag)
        if total < best[k - 1]:
            place = k - 1
            while place > 0 and best[place - 1] > total:  # an equal one that came before is more recent and stays ahead
                best[place], best_lags[place] = best[place - 1], best_lags[place - 1]
                place -= 1
            best[place], best_lags[place] = total, lag
    return True
