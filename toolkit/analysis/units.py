"""Units for people: one scale per metric, so that a column is of kB, ms or MJ from top to bottom."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from toolkit.analysis.metric import MetricInfo

BYTES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
LARGE = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
SMALL = ((1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
FROM = 1e4
"""From here on joules and operations are told in thousands: 2,300 J stay as they are."""
UPTO = 0.1
"""Below this seconds and joules are told in thousandths."""
FIGURES = 4
"""Most significant figures of a scaled mean."""


def scale_of(unit: str, value: float) -> tuple[float, str]:
    """Return how many of *unit* make one of the unit in which *value* is told, and that unit: ``(1e6, "MB")``."""
    size = abs(value)
    if not np.isfinite(size) or size == 0:
        return 1.0, unit
    if unit == "B":
        return next(((factor, name) for factor, name in BYTES if size >= factor), (1.0, unit))
    if unit in {"J", "FLOP"} and size >= FROM:
        return next((factor, f"{prefix}{unit}") for factor, prefix in LARGE if size >= factor)
    if unit in {"s", "J"} and size < UPTO:
        return next(((factor, f"{prefix}{unit}") for factor, prefix in SMALL if size >= factor), (SMALL[-1][0], f"{SMALL[-1][1]}{unit}"))
    return 1.0, unit


def scaled(info: MetricInfo, values: Iterable[float]) -> MetricInfo:
    """Return *info* in the unit that suits the median of *values*, which are in the metric's own unit; itself where that suits already."""
    sizes = np.abs(np.fromiter(values, float))
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    if info.per != 1.0 or not len(sizes):
        return info
    middle = float(np.median(sizes))
    per, unit = scale_of(info.unit, middle)
    if per == 1.0:
        return info
    places = info.digits + round(np.log10(per))
    digits = min(max(places, 0), max(0, FIGURES - 1 - int(np.floor(np.log10(middle / per)))))
    return replace(info, unit=unit, per=per, digits=digits)
