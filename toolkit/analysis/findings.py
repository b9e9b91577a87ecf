"""Findings as sentences: what the first arm of a comparison came to, and against whom its paired intervals tell it apart.

Shared by all reports. Nothing is claimed where no interval can be made.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Any

import numpy as np
import pandas as pd

from toolkit.analysis.comparison import Comparison
from toolkit.analysis.metric import MetricInfo
from toolkit.analysis.statistics import UNDECIDED
from toolkit.analysis.units import scale_of
from toolkit.core.device import amount
from toolkit.core.words import counted, listed

Row = dict[Hashable, Any]
"""One row of the table of differences."""
NAMED = 5
"""Of so many rivals with the same verdict, each is told with its numbers."""
LESS = ("less than", "more than")


def comparable(result: Comparison) -> bool:
    """Whether there are two arms, and the run bears verdicts: without two seeds no paired interval can be made."""
    return len(result.arms) > 1 and result.standing.bears


def not_comparable(result: Comparison) -> str:
    """Say why nothing is compared."""
    if len(result.arms) < 2:
        return f"One arm: there is nothing to compare {result.arms[0]} with."
    reason = result.standing.tag.partition(":")[0].capitalize()
    return f"{reason}: the arms are not compared ({', '.join(result.arms)})."


def tally(rows: pd.DataFrame) -> tuple[int, int, int]:
    """Count the verdicts better, worse and undecided."""
    better, worse, even = (int((rows["verdict"] == verdict).sum()) for verdict in ("better", "worse", UNDECIDED))
    return better, worse, even


def by_verdict(result: Comparison, metric: str) -> dict[str, list[Row]]:
    """Return the first arm's differences from its rivals in *metric* under better, worse and undecided, where there is an interval."""
    rows = result.differences
    rows = rows[(rows["metric"] == metric) & (rows["n"] > 1)]
    return {verdict: list[Row](rows[rows["verdict"] == verdict].to_dict("records")) for verdict in ("better", "worse", UNDECIDED)}


def row_of(result: Comparison, arm: str, metric: str) -> pd.Series | None:
    """Mean, interval and number of seeds of one arm; None where no seed has a value."""
    summary = result.summary
    rows = summary[(summary["arm"] == arm) & (summary["metric"] == metric) & (summary["n"] > 0)]
    return None if rows.empty else rows.iloc[0]


def in_short(result: Comparison, metrics: Collection[str]) -> str:
    """Count the verdicts of the first arm on *metrics* against all others."""
    rows = result.differences[result.differences["metric"].isin(metrics) & (result.differences["n"] > 1)]
    if rows.empty:
        return ""
    better, worse, even = tally(rows)
    which = [info.label for info in result.described if info.name in set(rows["metric"])]
    return (
        f"In short, of the {counted(len(rows), 'comparison')} of {result.arms[0]} with the others in {listed(which)}, it is better in "
        f"{better}, worse in {worse} and not told apart in {even}."
    )


def verdicts(result: Comparison, info: MetricInfo, words: tuple[str, str] = LESS) -> str:
    """Compare the first arm's *info* with the others'; *words* say better and worse.

    ``Energy in all of A, 800 ± 10 J: less than B (900 J; difference −100, 95 % interval −120 to −80 J)``.
    """
    own = row_of(result, result.arms[0], info.name)
    found = rivals(result, info, words)
    if own is None or not found:
        return ""
    label = f"{info.label[:1].upper()}{info.label[1:]}{',' * (',' in info.label)}"
    return f"{label} of {result.arms[0]}, {with_interval(info, own)}: {found}."


def rivals(result: Comparison, info: MetricInfo, words: tuple[str, str] = LESS) -> str:
    """The rivals under each verdict with their mean, the difference and its interval; empty where nothing can be compared.

    Of more than `NAMED` rivals with the same verdict, numbers are given for the nearest alone; the table of differences has the rest.
    """
    parts, explained = [], False
    for rows, word in zip(by_verdict(result, info.name).values(), (*words, f"{UNDECIDED} against"), strict=True):
        group = sorted(rows, key=lambda row: abs(row["mean"]))
        told = []
        for row in group if len(group) <= NAMED else group[:1]:
            own = row_of(result, str(row["other"]), info.name)
            mean = f"{value_of(info, float(own['mean']))}; " if own is not None else ""
            gap = _difference(info, row["mean"], row["ci95_low"], row["ci95_high"], explain=not explained)
            told.append(f"{row['other']} ({mean}{gap})")
            explained = True
        if len(group) > NAMED:
            parts.append(f"{word} {len(group)} arms, nearest {told[0]}, then {listed([str(row['other']) for row in group[1:]])}")
        elif told:
            parts.append(f"{word} {listed(told)}")
    return "; ".join(parts)


def _difference(info: MetricInfo, mean: float, low: float, high: float, *, explain: bool) -> str:
    """The difference and its interval; only the first of a sentence says what the numbers are."""
    if _same(high - low, mean):
        return f"{'difference ' if explain else ''}{_signed(info, mean)} in every seed"
    words = "difference {}, 95 % interval {} to {}" if explain else "{}, {} to {}"
    like = max(map(abs, (mean, low, high)))
    return words.format(*(_signed(info, value, unit=unit, like=like) for value, unit in ((mean, False), (low, False), (high, True))))


def _signed(info: MetricInfo, value: float, *, unit: bool = True, like: float | None = None) -> str:
    return ("-" if value < 0 else "+" if value > 0 else "") + value_of(info, abs(value), unit=unit, like=like)


def with_interval(info: MetricInfo, row: pd.Series) -> str:
    """Mean and half of its interval; the mean alone where all seeds agree to the last digit or there is only one."""
    mean, low, high = (float(row[column]) for column in ("mean", "ci95_low", "ci95_high"))
    half = (high - low) / 2
    if not np.isfinite(half) or _same(half, mean):
        return value_of(info, mean)
    if info.share and (low <= 0.0 or high >= 1.0):
        return f"{value_of(info, mean)} ({value_of(info, low)} to {value_of(info, high)})"
    return f"{value_of(info, mean, unit=False)} ± {value_of(info, half, digits=2, like=mean)}"


def _same(width: float, value: float) -> bool:
    """Whether an interval is no wider than the rounding of numbers."""
    return width <= 1e-9 * abs(value) or width == 0


def value_of(info: MetricInfo, value: float, *, unit: bool = True, digits: int = 3, like: float | None = None) -> str:
    """A value with its unit, to so many significant figures; bytes always as kB, MB and so on.

    The unit suits the value itself, or one *like* it: ``12.3 ± 0.4 ms``.
    """
    if info.unit == "B":
        return amount(value)
    per, name = scale_of(info.unit, value if like is None else like)
    shown = value / per
    return (f"{shown:.0f}" if abs(shown) >= 1000 else f"{shown:.{digits}g}") + (f" {name}" if unit and name not in {"", "1"} else "")


def percent_of(share: float) -> str:
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 10 or percent == 0 else f"{percent:.2g} %"
