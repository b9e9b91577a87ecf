"""What a comparison of pruning methods says, in sentences; targets missed are told as plainly as targets met."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from toolkit.analysis.comparison import Comparison
from toolkit.analysis.findings import row_of
from toolkit.cluster.report import late_crashes
from toolkit.core.words import counted

Floats = NDArray[np.float64]
PAPER_REMOVED, PAPER_FACTOR = 0.9542, 16.0
WITHIN_POINTS = 2.0
TARGETS = (
    ("removed", PAPER_REMOVED, "95.42 % of parameters removed"), ("conv_factor", PAPER_FACTOR, "16 times fewer convolution MACs"),
)


def pruning_findings(result: Comparison) -> list[str]:
    """Return the findings."""
    sentences = [text for arm in result.arms if (text := _arm(result, arm))]
    late = late_crashes(result)
    targets = [] if result.standing.quick else _headlines(result)
    return [*sentences, *targets, *_search(result), *_workers(result), *([late] if late else [])]


def _interval(row: pd.Series, digits: int) -> str:
    half = (row["ci95_high"] - row["ci95_low"]) / 2
    return f"{row['mean']:.{digits}f}" + (f" ± {half:.{digits}f}" if np.isfinite(half) and half else "")


def _arm(result: Comparison, arm: str) -> str:
    rows = {name: row_of(result, arm, name) for name in ("removed", "conv_factor", "lost_points", "better_than_scratch_points")}
    if rows["removed"] is None or rows["lost_points"] is None:
        return ""
    text = f"{arm}: {100 * rows['removed']['mean']:.2f} % of the parameters removed"
    if rows["conv_factor"] is not None:
        text += f", {rows['conv_factor']['mean']:.2f} times fewer convolution MACs"
    text += f", {_interval(rows['lost_points'], 2)} accuracy points lost"
    scratch = rows["better_than_scratch_points"]
    if scratch is not None:
        sure = scratch["ci95_low"] > 0 or scratch["ci95_high"] < 0
        text += f"; against the same structure trained from scratch {_interval(scratch, 2)} points"
        text += " (no difference shown)" if result.standing.bears and not sure else ""
    return text + "."


def _headlines(result: Comparison) -> list[str]:
    """The paper's two figures, each against the arms that were told to reach it."""
    sentences = []
    for metric, needed, told in TARGETS:
        asked = [
            arm for arm, scenario in result.scenario.arms().items()
            if getattr(scenario.program, "target", None) is not None and arm in result.arms
            and getattr(scenario.program.target, metric) is not None  # type: ignore[attr-defined]
        ]
        met: list[str] = []
        missed: list[str] = []
        for arm in asked:
            values = _values(result, arm, metric)
            lost = row_of(result, arm, "lost_points")
            if not len(values) or lost is None:
                continue
            good = bool((values >= needed).all()) and lost["mean"] <= WITHIN_POINTS
            reason = f"{arm} ({int((values >= needed).sum())} of {counted(len(values), 'seed')}, {_interval(lost, 2)} points lost)"
            (met if good else missed).append(reason)
        if met or missed:
            by = f"met by {', '.join(met) or 'none'}; MISSED by {', '.join(missed) or 'none'}"
            sentences.append(f"{told} within {WITHIN_POINTS:g} accuracy points: {by}.")
    return sentences


def _values(result: Comparison, arm: str, metric: str) -> Floats:
    report = result.report
    return report.loc[(report["arm"] == arm) & (report["metric"] == metric), "value"].to_numpy(float)


def _search(result: Comparison) -> list[str]:
    """The first arm's search against the others that were given the same weights, at equal evaluations."""
    gaps = result.differences
    sentences = []
    first = result.arms[0]
    same = [
        arm for arm, scenario in result.scenario.arms().items()
        if arm != first and getattr(scenario.program, "preset", 0) == getattr(result.scenario.arms()[first].program, "preset", 1)
    ]
    for metric, label in (("hypervolume@1", "hypervolume of the first search"), ("fitness@1", "best F of the first search")):
        rows = gaps[(gaps["metric"] == metric) & gaps["other"].isin(same)]
        told = [
            f"{row.other} {row.mean:+.4f}" + (f" ({row.ci95_low:+.4f} to {row.ci95_high:+.4f}: {row.verdict})" if row.n > 1 else "")
            for row in _tuples(rows)
        ]
        if told:
            sentences.append(f"{label}, {first} minus others at as many evaluations: {'; '.join(told)}.")
    return sentences


def _tuples(frame: pd.DataFrame) -> list[Any]:
    return list(frame.itertuples())


def _workers(result: Comparison) -> list[str]:
    told = []
    for arm in result.arms:
        idle, search = row_of(result, arm, "idle_fraction"), row_of(result, arm, "search_s")
        if idle is not None and search is not None:
            told.append(f"{arm} {100 * idle['mean']:.1f} % idle, {_interval(search, 2)} s")
    return [f"Workers while searching: {'; '.join(told)}."] if told else []
