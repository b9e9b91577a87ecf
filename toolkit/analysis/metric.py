"""What a metric is and how it is shown: name or family of names, unit, label, which way is good, decimals."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class MetricInfo:
    """What a metric is and how it is shown.

    `name` may hold one ``*`` (``rmse_db@*``) to stand for a family; ``{}`` in `label` is then what the star matched.
    `better` says which way is good; a metric without a direction is shown and never judged. `headline` metrics go into the
    short tables. `absent` is the value of a run that has no row of a metric that other runs have (no loss of a kind: 0). A `share`
    lies between 0 and 1, and so does the interval of its mean. Values are shown divided by `per`, in `unit` (see
    `toolkit.analysis.units`).
    """

    name: str
    unit: str
    label: str
    better: Literal["higher", "lower"] | None = None
    digits: int = 3
    headline: bool = False
    absent: float = float("nan")
    share: bool = False
    per: float = 1.0

    def matches(self, name: str) -> bool:
        return fnmatchcase(name, self.name)

    def named(self, name: str) -> MetricInfo:
        """The entry of one member of the family."""
        head, star, tail = self.name.partition("*")
        middle = name[len(head) : len(name) - len(tail)] if star else ""
        label = self.label.replace("{}", middle.replace("_", " "))
        return replace(self, name=name, label=label)

    @property
    def title(self) -> str:
        """Label with its unit, as on an axis."""
        return self.label if self.unit in {"", "1"} else f"{self.label} ({self.unit})"

    def text(self, value: float, *, sign: bool = False) -> str:
        """A value as it is printed, without unit; one that is too small for `digits` decimals keeps two significant figures."""
        if not np.isfinite(value):
            return "–"
        shown = value / self.per
        plus = "+" if sign and shown != 0 else ""
        small = shown != 0 and abs(shown) < 0.5 * 10.0**-self.digits
        return f"{shown:{plus}.2g}" if small else f"{shown:{plus}.{self.digits}f}"

    def with_interval(self, mean: float, low: float, high: float) -> str:
        """``mean ± half of the interval``, or the mean alone where there is none or it has no width.

        Where the interval of a share was cut off at 0 or 1 its ends are told instead: ``0.997 (0.991 … 1.000)``.
        """
        if not np.isfinite(high - low) or high == low:
            return self.text(mean)
        if self.share and abs((high - mean) - (mean - low)) > 1e-9 and (low <= 0.0 or high >= 1.0):
            return f"{self.text(mean)} ({self.text(low)} … {self.text(high)})"
        return f"{self.text(mean)} ± {self.text((high - low) / 2)}"


def describe(name: str, infos: Sequence[MetricInfo], unit: str = "") -> MetricInfo:
    """Return the entry for the metric *name*: the first that matches, or a plain one without direction."""
    found = next((info for info in infos if info.matches(name)), None)
    return found.named(name) if found else MetricInfo(name, unit, name.replace("_", " "))


def family(name: str, infos: Sequence[MetricInfo]) -> str:
    """Return what the metric *name* is tested together with: ``rmse_db@*`` for one horizon of many, else itself."""
    return next((info.name for info in infos if info.matches(name)), name)


def ordered_metrics(report: pd.DataFrame, infos: Sequence[MetricInfo]) -> list[MetricInfo]:
    """Return the metrics present in *report* (or a summary) in the order of *infos*; unknown ones come last."""
    units = dict(zip(report["metric"], report["unit"], strict=True))
    rank = {name: next((i for i, info in enumerate(infos) if info.matches(name)), len(infos)) for name in units}
    return [describe(name, infos, units[name]) for name in sorted(units, key=lambda name: (rank[name], _natural(name)))]


def _natural(name: str) -> tuple[tuple[bool, float, str], ...]:
    """Sort key that puts ``@6h`` before ``@12h``."""
    parts = re.split(r"(\d+(?:\.\d+)?)", name)
    return tuple((i % 2 == 0, float(part) if i % 2 else 0.0, part) for i, part in enumerate(parts))
