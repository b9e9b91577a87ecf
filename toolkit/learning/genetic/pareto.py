"""Fronts: non-dominated sorting, crowding (Deb et al. 2002) and exact hypervolume. All objectives are to be small."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ranks = NDArray[np.int64]


def dominates(points: Floats) -> NDArray[np.bool_]:
    """Return a matrix (N, N): whether point i is no worse than j in all objectives and better in one."""
    no_worse = (points[:, None] <= points[None]).all(axis=2)
    better = (points[:, None] < points[None]).any(axis=2)
    return np.asarray(no_worse & better, np.bool_)


def ranks(points: Floats) -> Ranks:
    """Return the front that each of *points* (N, objectives) is on, 0 the best."""
    over = dominates(points)
    above = over.sum(axis=0)
    rank = np.full(len(points), -1, np.int64)
    front = 0
    while (rank < 0).any():
        now = (above == 0) & (rank < 0)
        rank[now] = front
        above = above - over[now].sum(axis=0)
        front += 1
    return rank


def crowding(points: Floats) -> Floats:
    """Return the crowding distance of each point of one front: the mean over objectives of the gap between its neighbours.

    Points at an end of some objective are infinitely far. An objective in which all are equal counts for nothing. Departure from the
    source: the mean instead of the sum, which orders alike.
    """
    count, objectives = points.shape
    if count <= 2:
        return np.full(count, np.inf)
    order = np.argsort(points, axis=0, kind="stable")
    ordered = np.take_along_axis(points, order, axis=0)
    span = ordered[-1] - ordered[0]
    gaps = np.full((count, objectives), np.inf)
    gaps[1:-1] = ordered[2:] - ordered[:-2]
    gaps = np.divide(gaps, span, out=np.zeros_like(gaps), where=span > 0)
    distance = np.zeros((count, objectives))
    np.put_along_axis(distance, order, gaps, axis=0)
    found: Floats = distance.mean(axis=1)
    return found


def front(points: Floats) -> NDArray[np.int64]:
    """Return the indices of the points that none dominates, one of each set of equal points."""
    _, first = np.unique(points, axis=0, return_index=True)
    first = np.sort(first)
    chosen = points[first]
    return first[~dominates(chosen).any(axis=0)] if len(first) else first


def hypervolume(points: Floats, reference: Floats) -> float:
    """Return the volume that *points* (N, d) dominate up to *reference* (d,), exactly.

    Slices by the last objective, a dimension less each time; in two dimensions a staircase.
    """
    inside = points[(points < reference).all(axis=1)]
    if not len(inside):
        return 0.0
    return _volume(inside[front(inside)], reference)


def _volume(points: Floats, reference: Floats) -> float:
    if points.shape[1] == 1:
        return float(reference[0] - points[:, 0].min())
    order = np.argsort(points[:, -1], kind="stable")
    points = points[order]
    if points.shape[1] == 2:
        best = np.minimum.accumulate(points[:, 0])
        heights = np.append(points[1:, 1], reference[1]) - points[:, 1]
        return float(((reference[0] - best) * heights).sum())
    total = 0.0
    below = np.append(points[1:, -1], reference[-1]) - points[:, -1]
    for place, depth in enumerate(below):
        if depth > 0:
            flat = points[: place + 1, :-1]
            total += float(depth) * _volume(flat[front(flat)], reference[:-1])
    return total
