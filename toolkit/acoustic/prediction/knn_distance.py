"""How kNN compares windows, in NumPy: the latest one with all of the past, and several past ones at once.

Two windows are compared by the cells that both have: the distance is the root of the mean square difference over these, if there are
at least so many that the query has `present` of its cells among them. Values one same-phase lag before the target, phases and measured
surroundings are further terms of the same mean.

Source: standard; normalising by the number of cells in common is ours. Departures: none. The compiled search (`recurrence`) finds the same.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from toolkit.acoustic.prediction.search import Floats, Ints, Neighbours, nearest, windows_of

LEAST_SHARED = 1e-9


class Comparison(NamedTuple):
    """What windows are compared by, for one horizon."""

    m: int
    k: int
    ahead: int
    present: float
    centered: bool
    """Whether windows are compared less their means over the cells in common."""
    exclusion: int
    backs: tuple[int, ...]
    """Same-phase lags less the horizon: how far behind a window's end that value lies. Not below 0."""
    phase: Floats
    """Squared phase differences of windows 0, 1, … cells apart for phases of weight 1; empty without phases."""
    phase_square: float
    phase_weight: float

    @property
    def width(self) -> int:
        """Components per window, about."""
        return self.m + len(self.backs) + int(self.phase_weight) // 2


def nearest_of_latest(values: Floats, by: Comparison, beside: Floats | None) -> Neighbours:
    """The k nearest windows of *values* (cells, NaN missing) with a known target to the latest one, and mean squares in dB^2.

    *beside* (windows, columns) holds surroundings in dB as they count, of every window of *values*.
    """
    m, last = by.m, len(values) - 1
    rows = last + 2 - m - by.ahead  # windows that end at m - 1 … last - ahead
    if rows <= 0:
        return Neighbours(np.empty(0, np.intp), np.empty(0), 0)
    gap = windows_of(values, m)[:rows] - values[-m:]
    operations = rows * m
    ends = np.arange(m - 1, last - by.ahead + 1)
    squares: Floats = np.einsum("ij,ij->i", gap, gap)
    total = gap.sum(axis=1) if by.centered else None
    counts: Floats | float = float(m)
    allowed = None
    if not np.isfinite(squares).all():
        known = gap == gap
        gap[~known] = 0.0
        squares = np.einsum("ij,ij->i", gap, gap)
        total = gap.sum(axis=1) if by.centered else None
        counts = known.sum(axis=1, dtype=np.float64)
        need = by.present * float((values[-m:] == values[-m:]).sum()) - LEAST_SHARED
        allowed = (counts >= max(need, 1.0 - LEAST_SHARED)) & ~np.isnan(values[m - 1 + by.ahead :])
    elif np.isnan(values[m - 1 + by.ahead :]).any():
        allowed = ~np.isnan(values[m - 1 + by.ahead :])
    if total is not None:
        squares = np.maximum(squares - total * total / np.maximum(counts, 1.0), 0.0)
    if by.backs or by.phase_weight or beside is not None:
        counts = np.full(rows, counts) if isinstance(counts, float) else counts
        if by.phase_weight:
            squares += by.phase_square * by.phase[by.ahead : by.ahead + rows][::-1]
            counts += by.phase_weight
            operations += rows * int(by.phase_weight) // 2
        for back in by.backs:
            skip = max(0, back - m + 1)  # windows too old to have that value
            if back > last or values[last - back] != values[last - back] or skip >= rows:
                continue
            lagged = values[skip + m - 1 - back : rows + m - 1 - back] - values[last - back]
            there = lagged == lagged
            lagged[~there] = 0.0
            squares[skip:] += lagged * lagged
            counts[skip:] += there
            operations += rows - skip
        if beside is not None:
            squares += ((beside[:rows] - beside[-1]) ** 2).sum(axis=1)
            counts += beside.shape[1]
            operations += beside.size
    if allowed is not None:
        ends, squares = ends[allowed], squares[allowed]
        counts = counts[allowed] if not isinstance(counts, float) else counts
    squares = squares / counts
    chosen = apart(squares, ends, by.k, by.exclusion) if by.exclusion else nearest(squares, ends, by.k)
    return Neighbours(*chosen, operations)


class OriginNeighbours(NamedTuple):
    """Of several windows: ends and mean squares in dB^2 of their nearest (windows, k), how many were found (windows,), and operations."""

    ends: Ints
    squares: Floats
    found: Ints
    operations: int


def nearest_of_origins(values: Floats, origins: Ints, by: Comparison, beside: Floats | None) -> OriginNeighbours:
    """The same for windows that end at each of *origins* (rising), as if nothing later were known."""
    m, last = by.m, len(values) - 1
    known = values == values
    base = math.floor(values[known].mean())  # a whole number: differences of cells stay what they are, so ties stay ties
    row = np.where(known, values - base, 0.0)
    windows = windows_of(row, m)
    ends = np.arange(m - 1, last + 1)
    mine = windows[origins - m + 1]
    if known.all():
        squares = np.einsum("ij,ij->i", mine, mine)[:, None] + np.einsum("ij,ij->i", windows, windows) - 2.0 * mine @ windows.T
        counts = np.full(squares.shape, float(m))
        if by.centered:
            means = windows.mean(axis=1)
            squares -= m * (means[origins - m + 1][:, None] - means) ** 2
        enough = np.ones(squares.shape, dtype=bool)
    else:
        there = windows_of(known.astype(np.float64), m)
        here = there[origins - m + 1]
        squares = (mine * mine) @ there.T + here @ (windows * windows).T - 2.0 * mine @ windows.T
        counts = here @ there.T
        if by.centered:
            total = mine @ there.T - here @ windows.T
            squares -= total * total / np.maximum(counts, 1.0)
        enough = counts >= np.maximum(by.present * here.sum(axis=1) - LEAST_SHARED, 1.0 - LEAST_SHARED)[:, None]
    if by.phase_weight:
        squares += by.phase_square * by.phase[np.abs(origins[:, None] - ends)]
        counts += by.phase_weight
    for back in by.backs:
        then = np.where(ends >= back, values[np.maximum(ends - back, 0)], np.nan)
        lagged = then[origins - m + 1][:, None] - then
        both = lagged == lagged
        squares += np.where(both, lagged, 0.0) ** 2
        counts += both
    if beside is not None:
        squares += ((beside[origins - m + 1][:, None] - beside) ** 2).sum(axis=2)
        counts += beside.shape[1]
    targets = np.append(known[m - 1 + by.ahead :], np.zeros(by.ahead, dtype=bool))
    enough &= targets & (ends <= origins[:, None] - by.ahead)
    squares = np.maximum(squares, 0.0) / np.maximum(counts, 1.0)
    chosen_ends, near = np.zeros((len(origins), by.k), np.intp), np.zeros((len(origins), by.k))
    found = np.zeros(len(origins), np.intp)
    for index, (one, allowed) in enumerate(zip(squares, enough, strict=True)):
        kept, theirs = ends[allowed], one[allowed]
        if by.exclusion:
            chosen = apart(theirs, kept, by.k, by.exclusion)
        elif len(theirs) > by.k:
            limit = np.partition(theirs, by.k - 1)[by.k - 1]
            nearer, level = np.flatnonzero(theirs < limit), np.flatnonzero(theirs == limit)
            places = np.append(nearer, level[len(level) - (by.k - len(nearer)) :])  # of those equally far the more recent
            chosen = kept[places], theirs[places]
        else:
            chosen = kept, theirs
        found[index] = len(chosen[0])
        chosen_ends[index, : found[index]], near[index, : found[index]] = chosen
    return OriginNeighbours(chosen_ends, near, found, squares.size * by.width)


def apart(squares: Floats, ends: Ints, k: int, exclusion: int) -> tuple[Ints, Floats]:
    """The k nearest windows that end more than *exclusion* cells apart, so that the neighbours are not one episode."""
    taken: list[int] = []
    for index in np.lexsort((-ends, squares)).tolist():
        if all(abs(int(ends[index]) - int(ends[other])) > exclusion for other in taken):
            taken.append(index)
            if len(taken) == k:
                break
    return ends[taken], squares[taken]
