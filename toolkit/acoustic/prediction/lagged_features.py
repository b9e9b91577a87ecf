"""What a linear forecast can be a function of: the last cells, the same phase of earlier periods, and known periods themselves.

For a target h cells after cell i: the values x[i], x[i-1], …; for each same-phase lag L the value one L before the target, or as many L
as it takes for it and the two cells after it to lie in the past, and the means of the cells round it; cosine and sine of each period at
the target. All but the last scale
with the series, and the last are given in its standard deviation, so a ridge means the same for every unit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.acoustic.prediction.search import windows_of
from toolkit.acoustic.prediction.series import Floats

ROUND = 2
"""Cells on either side of a same-phase value that count too."""


@dataclass(frozen=True, slots=True)
class LaggedFeatures:
    """Which features, for one horizon; spans in cells."""

    order: int
    seasons: tuple[int, ...]
    turns: tuple[float, ...]
    """Radians per cell of each period."""
    ahead: int

    def at(self, row: Floats, first: int, scale: float, first_cell: int) -> Floats:
        """Features of every cell from *first* on of *row* (cells,), values without NaN less their level: (cells - first, columns).

        *scale* is what the waves are multiplied with, *first_cell* the absolute number of the row's first cell.
        """
        columns = [windows_of(row, self.order)[first - self.order + 1 :]]
        targets = np.arange(first, len(row)) + self.ahead
        columns += [_around(row, targets - self._lag(season)) for season in self.seasons]
        if self.turns:
            angle = np.multiply.outer((targets + first_cell).astype(np.float64), np.array(self.turns))
            columns += [scale * np.cos(angle), scale * np.sin(angle)]
        return np.concatenate(columns, axis=1)

    def _lag(self, season: int) -> int:
        return -(-(self.ahead + ROUND) // season) * season

    @property
    def reach(self) -> int:
        """Index in a row of the first cell that has all features."""
        return max([self.order - 1, *(self._lag(season) - self.ahead + ROUND for season in self.seasons)])

    def few(self, lags: int) -> NDArray[np.intp]:
        """Places of the columns, of the last cells only *lags* of them."""
        return np.arange(max(0, self.order - lags), self.width)

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.order + 3 * len(self.seasons) + 2 * len(self.turns)


def _around(row: Floats, places: NDArray[np.intp]) -> Floats:
    """The value at each of *places*, and the means of its two neighbours at one and at two cells' distance: (places, 3)."""
    return np.stack([row[places], (row[places - 1] + row[places + 1]) / 2.0, (row[places - 2] + row[places + 2]) / 2.0], axis=1)
