"""Exact search for the nearest windows with a bound from segment means (PAA), as a few passes of NumPy.

Over S segments of n_s cells ``|q - x|^2 >= sum_s n_s (mean_s(q) - mean_s(x))^2``. The bound of all windows costs S operations each, from
running sums; the k windows of least bound are compared in full, which gives a distance that no neighbour exceeds, and so are all others
whose bound is not above it. Worst case O(N m), as for brute force.

Source: bounds of Yi and Faloutsos (2000) and Keogh et al. (2001); the two stages are ours. Departures: none.
"""

from __future__ import annotations

import numpy as np

from toolkit.acoustic.prediction.search import SLACK, Floats, Ints, Neighbours, nearest, windows_of

SEGMENTS = 8


def search(values: Floats, m: int, last_end: int, k: int) -> Neighbours:
    """Return the same as `brute` for the last m of *values* (cells,) among all windows that end at cell *last_end* or before it."""
    rows = last_end - m + 2
    if rows <= 0:
        return Neighbours(np.empty(0, np.intp), np.empty(0), 0)
    segments = min(SEGMENTS, m)
    edges = np.arange(segments + 1) * m // segments
    base = float(values[-1])
    running = np.concatenate([[0.0], np.cumsum(values - base)])
    bounds = np.zeros(rows)
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        mine = running[len(values) - m + stop] - running[len(values) - m + start]
        gap = running[stop : stop + rows] - running[start : start + rows] - mine
        bounds += gap * gap / (stop - start)
    windows, query = windows_of(values, m)[:rows], values[-m:]
    if rows > k:
        near = np.argpartition(bounds, k - 1)[:k]
        reach = float(_squares(windows[near], query).max())
        rounding = 1e-12 * float(np.abs(running).max() + 1.0) ** 2  # what the running sums may have lost
        chosen: Ints = (bounds * SLACK <= reach + rounding).nonzero()[0]
    else:
        chosen = np.arange(rows)
    found = nearest(_squares(windows[chosen], query), chosen + m - 1, k)
    return Neighbours(*found, rows * segments + (len(chosen) + k) * m)


def _squares(rows: Floats, query: Floats) -> Floats:
    gap = rows - query
    return np.asarray(np.einsum("ij,ij->i", gap, gap))
