"""Exact search for the nearest windows of a series, by brute force and by order of their means.

Both return the k windows with the smallest sums of squared differences to a query; ties go to the more recent window.

The quick search keeps the windows ordered by mean and works outwards from the query's mean. With means mu and standard deviations s,
``|q - x|^2 >= m [(mu_q - mu_x)^2 + (s_q - s_x)^2]`` and, for means over S segments, ``>= (m/S) |PAA(q) - PAA(x)|^2``; a window whose
bound exceeds the k-th best is skipped, one that is examined is abandoned as soon as its partial sum does, largest deviations of the
query first, and the search ends where the gap of the means alone is too large. All bounds hold for the Euclidean distance, so the
answer is exact. Worst case O(N m).

Source: bounds of Yi and Faloutsos (2000) and Keogh et al. (2001); the layering is ours.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

SEGMENTS = 4
SLACK = 1.0 - 1e-12
"""Bounds are lowered by this much, so that rounding never excludes a true neighbour."""


class Neighbours(NamedTuple):
    """Nearest first: index of each window's last cell, sum of squared differences (dB^2), and component operations spent."""

    ends: Ints
    squares: Floats
    operations: int


def nearest(squares: Floats, ends: Ints, k: int) -> tuple[Ints, Floats]:
    """Return the k smallest *squares* with their *ends* (given in rising order), nearest first, ties by the later end."""
    if len(squares) > 4 * k:
        kth = np.partition(squares, k - 1)[k - 1]
        chosen = (squares <= kth).nonzero()[0]
        squares, ends = squares[chosen], ends[chosen]
    order = np.lexsort((-ends, squares))[:k]
    return ends[order], squares[order]


def brute(windows: Floats, query: Floats, last_end: int, k: int) -> Neighbours:
    """Compare *query* (m,) with every row of *windows* (N, m), row r ending at cell m - 1 + r, up to the one ending at *last_end*."""
    m = len(query)
    rows = windows[: max(0, last_end - m + 2)]
    gap = rows - query
    squares = np.einsum("ij,ij->i", gap, gap)
    ends, best = nearest(squares, np.arange(m - 1, m - 1 + len(rows)), k)
    return Neighbours(ends, best, len(rows) * m)


@dataclass
class WindowOrder:
    """The windows of a growing series, ordered by mean. Windows are added one cell at a time and never change."""

    m: int
    means: list[float] = field(default_factory=list)
    _ends: list[int] = field(default_factory=list)
    _stds: list[float] = field(default_factory=list)
    _rows: list[list[float]] = field(default_factory=list)
    _segments: list[list[float]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.means)

    def add(self, window: Floats, end: int) -> None:
        """Insert the window (m,) whose last cell is number *end*."""
        mean = float(window.mean())
        place = bisect_left(self.means, mean)
        self.means.insert(place, mean)
        self._ends.insert(place, end)
        self._stds.insert(place, float(window.std()))
        self._rows.insert(place, window.tolist())
        self._segments.insert(place, _segments(window))

    def search(self, query: Floats, last_end: int, k: int) -> Neighbours:
        """Return the same as `brute`, having looked at as little as the bounds allow."""
        m = self.m
        mean, std = float(query.mean()), float(query.std())
        segments = _segments(query)
        order = np.argsort(-np.abs(query - mean), kind="stable").tolist()
        values = query.tolist()
        best: list[tuple[float, int]] = []  # (square, -end), sorted, at most k
        limit = float("inf")
        operations = 0
        high = bisect_left(self.means, mean)
        low = high - 1
        while low >= 0 or high < len(self.means):
            down = mean - self.means[low] if low >= 0 else float("inf")
            up = self.means[high] - mean if high < len(self.means) else float("inf")
            if down <= up:
                place, gap = low, down
                low -= 1
            else:
                place, gap = high, up
                high += 1
            operations += 1
            if m * gap * gap * SLACK > limit:
                break
            end = self._ends[place]
            if end > last_end:
                continue
            operations += 1
            if m * (gap * gap + (std - self._stds[place]) ** 2) * SLACK > limit:
                continue
            if segments:
                operations += SEGMENTS
                bound = sum((a - b) ** 2 for a, b in zip(segments, self._segments[place], strict=True)) * m / SEGMENTS
                if bound * SLACK > limit:
                    continue
            row = self._rows[place]
            total = 0.0
            for component in order:
                operations += 1
                total += (values[component] - row[component]) ** 2
                if total * SLACK > limit:
                    break
            else:
                best.append((total, -end))
                best.sort()
                del best[k:]
                limit = best[-1][0] if len(best) == k else limit
        ends = np.array([-end for _, end in best], dtype=np.intp)
        return Neighbours(ends, np.array([square for square, _ in best]), operations)


def _segments(window: Floats) -> list[float]:
    """Means over `SEGMENTS` equal parts, or nothing where the length is no multiple."""
    if len(window) % SEGMENTS or len(window) < 2 * SEGMENTS:
        return []
    means: list[float] = window.reshape(SEGMENTS, -1).mean(axis=1).tolist()
    return means
