"""Storage by rounding: windows whose segment means round to the same steps share one cell, found by its key at once.

A cell keeps a count and, per stored horizon, the mean and second moment of the targets (Welford). A look-up reads the cell of the query
and those one step away in one segment, 2 S + 1 keys; only when these hold fewer than k cells are all of them compared.
Cells do not merge, since their union has no key; when the budget is full, the one with the least count x exp(-age / forget) is dropped.

Source: ours, see `compression`. Departures: bytes are counted as a node would pack them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from toolkit.acoustic.prediction.compression import Answer, Floats

Key = tuple[int, ...]
FORGET_WINDOWS = 1440.0
"""Age in windows (30 days of half hours) after which a cell counts 1/e when nothing else was said."""


@dataclass(slots=True)
class Cell:
    """Count, means and second moments of the targets (horizons,), and the number of the window that it last took in."""

    count: float
    means: Floats
    moments: Floats
    touched: int


@dataclass
class QuantisedStore:
    """At most *budget* cells over windows of *segments* means, rounded to `quantum_db`, with targets at *horizons* (a number of them)."""

    segments: int
    horizons: int
    budget: int
    forget: float = 0.0
    quantum_db: float = 0.0
    base_db: float = 0.0
    """From which features are counted in steps of the quantum."""
    windows: int = 0
    cells: dict[Key, Cell] = field(default_factory=dict)
    looked_up: int = 0
    """Components that the last look-up compared."""
    spent: int = 0
    """Components that the last addition compared."""

    @property
    def size(self) -> int:
        return len(self.cells)

    def key(self, features: Floats) -> Key:
        """The cell of a window's means (segments,) in dB."""
        return tuple(np.rint((features - self.base_db) / self.quantum_db).astype(int).tolist())

    def add(self, features: Floats, targets: Floats) -> None:
        """Take in one window (segments,) with its targets (horizons,), all in dB."""
        self.windows += 1
        self.spent = self.segments
        key = self.key(features)
        cell = self.cells.get(key)
        if cell is None:
            self.cells[key] = Cell(1.0, targets.copy(), np.zeros(len(targets)), self.windows)
            if len(self.cells) > self.budget:
                self._drop_faintest()
            return
        cell.count += 1.0
        gap = targets - cell.means
        cell.means = cell.means + gap / cell.count
        cell.moments = cell.moments + gap * (targets - cell.means)
        cell.touched = self.windows

    def _drop_faintest(self) -> None:
        forget = self.forget or FORGET_WINDOWS
        self.spent += len(self.cells)
        faintest = min(self.cells, key=lambda key: math.log(self.cells[key].count) + (self.cells[key].touched - self.windows) / forget)
        del self.cells[faintest]

    def lookup(self, features: Floats, k: int, eps_db: float) -> Answer:
        """Average the targets of the *k* nearest cells around, weighted by count / (distance + eps); variance within cells counts.

        Distances are to the middles of the cells.
        """
        near = self._around(self.key(features))
        if len(near) < k:
            near = list(self.cells)
        self.looked_up = len(near) * self.segments
        gap = np.array(near) * self.quantum_db + self.base_db - features
        squares = np.einsum("ij,ij->i", gap, gap) / self.segments
        chosen = squares.argsort(kind="stable")[:k]
        cells = [self.cells[near[index]] for index in chosen.tolist()]
        counts = np.array([cell.count for cell in cells])
        weight = counts / (np.sqrt(squares[chosen]) + eps_db)
        weight /= weight.sum()
        theirs = np.array([cell.means for cell in cells])
        means = weight @ theirs
        within = np.array([cell.moments for cell in cells]) / counts[:, None]
        return Answer(means, weight @ ((theirs - means) ** 2 + within))

    def _around(self, key: Key) -> list[Key]:
        """The keys that exist among *key* and those one step away in one segment."""
        keys = [key]
        for place in range(len(key)):
            keys += [(*key[:place], key[place] + step, *key[place + 1 :]) for step in (-1, 1)]
        return [found for found in keys if found in self.cells]

    @property
    def nbytes(self) -> int:
        """Bytes on a node: one per segment, two per horizon (mean and deviation), two for the count, two for the time."""
        return self.size * (self.segments + 2 * self.horizons + 4)
