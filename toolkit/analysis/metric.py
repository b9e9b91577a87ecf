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
    short tables. `absent` is the value of a run that has no row of a metric that other runs have (no loss of a kind: 0).
    """

    name: str
    unit: str
    label: str
    better: Literal["higher", "lower"] | None = None
    digits: int = 3
    headline: bool = False
    absent: float = float("nan")

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
        """A value as it is printed; one without sign that is too small for `digits` decimals keeps two significant figures."""
        if not np.isfinite(value):
            return "–"
        if sign:
            return f"{value:+.{self.digits}f}"
        small = value != 0 and abs(value) < 0.5 * 10.0**-self.digits
        return f"{value:.2g}" if small else f"{value:.{self.digits}f}"

    def with_interval(self, mean: float, low: float, high: float) -> str:
        """``mean ± half of the interval``, or the mean alone where there is no interval."""
        half = (high - low) / 2
        return f"{self.text(mean)} ± {self.text(half)}" if np.isfinite(half) else self.text(mean)


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
