"""What is kept of old classes: a histogram of the shapes of their boxes, and nothing else.

A box's signed ratio is width / height where it is at least as wide as high, and -height / width where it is not; so no ratio lies between
-1 and 1, and a histogram is as fine for tall boxes as for wide ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
BINS = 50
CUT = 0.05
"""Share of the lowest and of the highest ratios that is left out."""


class RatioHistogram(NamedTuple):
    """How often a class's boxes had which signed ratio."""

    limits: Floats
    """(2,): where the first bin begins and the last one ends."""
    counts: Floats
    """(50,)."""

    @property
    def nbytes(self) -> int:
        return int(self.limits.nbytes + self.counts.nbytes)


def signed_ratios(width: NDArray[np.floating], height: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the signed ratios (n,) of boxes with positive sides."""
    wide, high = np.asarray(width, np.float64), np.asarray(height, np.float64)
    return np.where(wide >= high, wide / high, -high / wide)


def ratio_histogram(width: NDArray[np.floating], height: NDArray[np.floating]) -> RatioHistogram:
    """Return the histogram of boxes with these sides; without boxes that of a square."""
    ratios = np.sort(signed_ratios(width, height)) if len(width) else np.ones(1)
    cut = int(CUT * len(ratios))
    ratios = ratios[cut : len(ratios) - cut]
    low, high = float(ratios[0]), float(ratios[-1])
    counts, _ = np.histogram(ratios, BINS, (low, high) if high > low else (low, low + 1e-3))
    return RatioHistogram(np.array([low, max(high, low + 1e-3)], np.float32), counts.astype(np.float32))


def drawn_sides(histogram: RatioHistogram, longer: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return widths and heights (n, 2) of boxes whose longer sides are *longer* (n,); ratios between -1 and 1 are drawn outward."""
    shares = histogram.counts.astype(np.float64)
    bins = rng.choice(BINS, size=len(longer), p=shares / shares.sum())
    low, high = map(float, histogram.limits)
    ratios = low + (high - low) * (bins + rng.random(len(longer))) / BINS
    ratios = np.where(np.abs(ratios) < 1, np.where(ratios < 0, -1.0, 1.0), ratios)
    shorter = longer / np.abs(ratios)
    return np.where((ratios > 0)[:, None], np.stack([longer, shorter], axis=1), np.stack([shorter, longer], axis=1))
