"""Statistical storage compression: windows and what followed them, as a bounded number of micro-clusters.

A cluster keeps a count, the centroid of its windows (as means over segments, PAA), per stored horizon the mean and second moment of the
targets (Welford), and when it last grew. Two clusters merge exactly: count, sums and sums of squares of a union are those of its parts
(BIRCH, Zhang et al. 1996). When the budget is full, the closest pair is merged, or the cluster with the least count x exp(-age) is
forgotten.

What it saves depends on what one compares with, so the two yardsticks stand side by side with `ClusterStore.nbytes`: the raw series of
N values, which is all that a library of overlapping windows needs, and the matrix of N windows that a careless program would keep.
Against the raw series, clusters only begin to save where there are more windows per cluster than a cluster has bytes.

Source: ours; the abstract of arXiv 2108.05057 only says that storage is compressed statistically. Departures: bytes are counted as a
node would pack them; the arithmetic here is in float64, so the rounding of such packing is not modelled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Answer(NamedTuple):
    """What clusters say about the targets: mean in dB and variance in dB^2 per stored horizon, each (horizons,)."""

    means_db: Floats
    variances: Floats


@dataclass
class ClusterStore:
    """At most *budget* micro-clusters over windows of *segments* means and targets at *horizons* (a number of them).

    With *forget* = 0 a full store merges its closest pair, otherwise it drops the cluster with the least count x exp(-age / forget),
    ages being counted in windows.
    """

    segments: int
    horizons: int
    budget: int
    theta_db: float = 0.0
    """A window this near (RMS, dB) to a centroid joins its cluster; may be changed at any time."""
    forget: float = 0.0
    size: int = 0
    windows: int = 0
    spent: int = 0
    """Components that the last addition compared."""
    counts: Floats = field(init=False)
    centroids: Floats = field(init=False)
    means: Floats = field(init=False)
    moments: Floats = field(init=False)
    touched: Floats = field(init=False)
    """Number of the window that a cluster last took in."""

    def __post_init__(self) -> None:
        rows = self.budget + 1
        self.counts = np.zeros(rows)
        self.centroids = np.zeros((rows, self.segments))
        self.means = np.zeros((rows, self.horizons))
        self.moments = np.zeros((rows, self.horizons))
        self.touched = np.zeros(rows)

    def add(self, features: Floats, targets: Floats) -> None:
        """Take in one window (segments,) with its targets (horizons,), all in dB."""
        self.windows += 1
        self.spent = self.size * self.segments
        if self.size:
            squares = self._squares(features)
            near = int(squares.argmin())
            if squares[near] <= self.theta_db**2:
                self._absorb(near, 1.0, features, targets, 0.0)
                self.touched[near] = self.windows
                return
        row = self.size
        self.size += 1
        self.counts[row], self.centroids[row], self.means[row], self.moments[row] = 1.0, features, targets, 0.0
        self.touched[row] = self.windows
        if self.size > self.budget:
            if self.forget:
                self.drop_faintest()
            else:
                self.merge_closest()

    def merge_closest(self) -> None:
        """Merge the two clusters whose centroids are closest; the result is the cluster of all their windows."""
        self.spent += self.size**2 * self.segments
        centroids = self.centroids[: self.size]
        norms = np.einsum("ij,ij->i", centroids, centroids)
        squares = norms[:, None] + norms - 2.0 * centroids @ centroids.T
        squares[np.tril_indices(self.size)] = math.inf
        first, second = divmod(int(squares.argmin()), self.size)
        self._absorb(first, self.counts[second], self.centroids[second], self.means[second], self.moments[second])
        self.touched[first] = max(self.touched[first], self.touched[second])
        self._remove(second)

    def drop_faintest(self) -> None:
        """Forget the cluster that is small and has not grown for long; its windows are lost."""
        faded = self.counts[: self.size] * np.exp((self.touched[: self.size] - self.windows) / self.forget)
        self._remove(int(faded.argmin()))

    def _remove(self, row: int) -> None:
        last = self.size - 1
        for column in (self.counts, self.centroids, self.means, self.moments, self.touched):
            column[row] = column[last]
        self.size = last

    def _absorb(self, row: int, count: float, centroid: Floats, means: Floats, moments: Floats | float) -> None:
        """Add a cluster of *count* windows to the one in *row* (Chan's parallel form of Welford's update)."""
        total = self.counts[row] + count
        share = count / total
        gap = means - self.means[row]
        self.moments[row] += moments + gap**2 * self.counts[row] * share
        self.means[row] += gap * share
        self.centroids[row] += (centroid - self.centroids[row]) * share
        self.counts[row] = total

    def _squares(self, features: Floats) -> Floats:
        """Mean squared difference in dB^2 of *features* (segments,) to every centroid, (size,)."""
        gap = self.centroids[: self.size] - features
        return np.asarray(np.einsum("ij,ij->i", gap, gap) / self.segments)

    @property
    def looked_up(self) -> int:
        """Components that a look-up compares."""
        return self.size * self.segments

    def lookup(self, features: Floats, k: int, eps_db: float) -> Answer:
        """Average the targets of the *k* nearest clusters, weighted by count / (distance + eps); variance within clusters counts."""
        squares = self._squares(features)
        chosen = squares.argsort(kind="stable")[:k]
        weight = self.counts[chosen] / (np.sqrt(squares[chosen]) + eps_db)
        weight /= weight.sum()
        theirs = self.means[chosen]
        means = weight @ theirs
        within = self.moments[chosen] / self.counts[chosen, None]
        return Answer(means, weight @ ((theirs - means) ** 2 + within))

    @property
    def nbytes(self) -> int:
        """Bytes on a node: one per segment, two per horizon (mean and deviation), two for the count, two for the time if it is used."""
        return self.size * (self.segments + 2 * self.horizons + (4 if self.forget else 2))


class Storage(NamedTuple):
    """Bytes that one link's memory takes, and the two yardsticks."""

    clusters: int
    recent_cells: int
    """The cells that the next window and its targets are made of, in int8."""
    raw_series: int
    """The whole series in int8."""
    window_matrix: int
    """All its windows in float64."""

    @property
    def of_raw_series(self) -> float:
        """Kept bytes as a share of the raw series; above 1 nothing was saved."""
        return (self.clusters + self.recent_cells) / max(1, self.raw_series)

    @property
    def of_window_matrix(self) -> float:
        """Kept bytes as a share of the window matrix."""
        return (self.clusters + self.recent_cells) / max(1, self.window_matrix)


def raw_nbytes(cells: int) -> int:
    """Bytes of the series itself in int8 steps of half a decibel: what a library of overlapping windows really needs."""
    return cells


def window_matrix_nbytes(cells: int, window: int) -> int:
    """Bytes of all windows written out in float64."""
    return 8 * window * max(0, cells - window + 1)
