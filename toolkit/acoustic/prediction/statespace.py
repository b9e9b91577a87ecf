"""What small Kalman filters over a link's grid share: they filter finished cells, and learn their common scale from past errors.

The filters' variances are only known up to a common scale, which concentrated out of the likelihood is the mean of squared errors over
the variances that they were expected with (Harvey 1989, ch. 3), here per horizon and over the last cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from toolkit.acoustic.prediction.residuals import MANY, WINDOW_CELLS, widest
from toolkit.acoustic.prediction.series import PRIOR_STD_DB, CellBuffer, Floats, SnrSeries

SCALE_PRIOR_CELLS = 12.0
"""What a filter's own variance weighs against past errors at first, in cells."""


@dataclass(slots=True)
class FilterState:
    """The grid, and a row per number of the filter's state (means, then covariances) after each finished cell."""

    series: SnrSeries
    size: int
    rows: list[CellBuffer] = field(init=False)

    def __post_init__(self) -> None:
        self.rows = [CellBuffer(self.series.max_cells) for _ in range(self.size)]

    def keep(self, numbers: Sequence[float]) -> None:
        for row, value in zip(self.rows, numbers, strict=True):
            row.append(value)

    def newest(self) -> list[float]:
        return [float(row.view()[-1]) for row in self.rows]

    def views(self) -> list[Floats]:
        return [row.view() for row in self.rows]


def scale(series: SnrSeries, said: Floats, variances: Floats, ahead: int) -> float:
    """Mean square of past errors *ahead* cells ahead over the variances expected.

    While there are few it is near what a series as wide as the filters were made for, `PRIOR_STD_DB`, would have as 1.

    *said* and *variances* (finished cells,) are the forecasts made after each finished cell; they end one cell before the series does.
    """
    values, prior = series.values, (series.scale_db / PRIOR_STD_DB) ** 2
    count = min(len(said) - ahead + 1, WINDOW_CELLS)
    if count <= 0:
        return prior
    end = len(said) - ahead + 1
    gap = values[-count:] - said[end - count : end]
    square = gap * gap / variances[end - count : end]
    square = square[square == square]
    found = mixed_scale(float(np.sum(square)), len(square), prior)
    return found if len(square) < MANY else min(found, widest(np.sqrt(square)) ** 2)


def mixed_scale(square: float, count: int, prior: float) -> float:
    """Mean of *count* squares that sum to *square*, with a *prior* for `SCALE_PRIOR_CELLS` of them that soon counts for nothing."""
    weight = SCALE_PRIOR_CELLS * (SCALE_PRIOR_CELLS / (SCALE_PRIOR_CELLS + count)) ** 2
    return (square + weight * prior) / (count + weight)
