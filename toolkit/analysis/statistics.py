"""A tidy report of arms x seeds becomes means with intervals and paired differences: pure functions, frame in and frame out.

A report has one row per (arm, seed, metric): columns ``arm, seed, metric, unit, value``. Arms keep the order of the report, and
the first arm is the one that the others are compared with.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from toolkit.analysis.metric import MetricInfo, family, ordered_metrics
from toolkit.core.words import counted

Floats = NDArray[np.float64]
CONFIDENCE = 0.95
UNDECIDED = "no difference shown"
"""The verdict where an interval holds zero."""
UNTESTED = "not tested"
"""Instead of a verdict where there is no interval: fewer than two common seeds."""
NO_VERDICT = "no verdict"
"""Instead of a verdict where a run bears none (see `toolkit.analysis.standing`)."""
ROUNDING = 1e-6
"""What numbers differ by in proportion to themselves is how computers add, in single precision, and counts as nothing."""
REPORT_COLUMNS = ["arm", "seed", "metric", "unit", "value"]
SUMMARY_COLUMNS = ["arm", "metric", "unit", "mean", "ci95_low", "ci95_high", "n"]
DIFFERENCE_COLUMNS = ["metric", "unit", "arm", "other", "mean", "ci95_low", "ci95_high", "n", "p", "family", "p_holm", "verdict"]


def complete(report: pd.DataFrame, infos: Sequence[MetricInfo]) -> pd.DataFrame:
    """Add the rows that a run left out because it had nothing to count (see `MetricInfo.absent`).

    Without them a mean over seeds would only be taken over the seeds in which the thing happened.
    """
    runs = report[["arm", "seed"]].drop_duplicates()
    have = set(zip(report["arm"], report["seed"], report["metric"], strict=True))
    added = [
        {"arm": run.arm, "seed": run.seed, "metric": info.name, "unit": info.unit, "value": info.absent}
        for info in ordered_metrics(report, infos) if np.isfinite(info.absent)
        for run in runs.itertuples(index=False) if (run.arm, run.seed, info.name) not in have
    ]
    return pd.concat([report, pd.DataFrame(added)], ignore_index=True)[REPORT_COLUMNS] if added else report


def mean_interval(values: Floats) -> tuple[float, float, float, int]:
    """Mean, 95 % Student t interval of the mean, and number of the finite *values*; one value has no interval.

    Values that differ by no more than rounding have an interval without width.
    """
    from scipy.special import stdtrit  # scipy.stats would cost a second of import

    values = values[np.isfinite(values)]
    n = len(values)
    mean = float(values.mean()) if n else float("nan")
    if n < 2:
        return mean, float("nan"), float("nan"), n
    if np.ptp(values) <= ROUNDING * np.abs(values).max():
        return mean, mean, mean, n
    half = float(stdtrit(n - 1, 0.5 + CONFIDENCE / 2)) * float(values.std(ddof=1)) / n**0.5
    return mean, mean - half, mean + half, n


def summarise(report: pd.DataFrame, infos: Sequence[MetricInfo] = ()) -> pd.DataFrame:
    """Mean over seeds with its 95 % interval, one row per arm and metric; n counts the seeds with a finite value.

    The mean of a share cannot lie outside 0 to 1, so its interval is cut off there: what is cut holds no possible value, and the rest
    holds the true mean as often as the whole.
    """
    report = complete(report, infos)
    metrics = ordered_metrics(report, infos)
    groups = {key: group["value"].to_numpy(float) for key, group in report.groupby(["arm", "metric"], sort=False)}
    rows = [
        (arm, info.name, info.unit, *mean_of(info, groups[arm, info.name]))
        for arm in report["arm"].unique() for info in metrics if (arm, info.name) in groups
    ]
    return pd.DataFrame(rows, columns=SUMMARY_COLUMNS)


def mean_of(info: MetricInfo, values: Floats) -> tuple[float, float, float, int]:
    """`mean_interval` of *values* of one metric; that of a share is cut off at 0 and 1."""
    return _cut_off(info, 0.0, mean_interval(values))


def _cut_off(info: MetricInfo, least: float, found: tuple[float, float, float, int]) -> tuple[float, float, float, int]:
    """Cut the interval of a share, or of a difference of two, off at *least* and 1; NaN stays NaN."""
    mean, low, high, n = found
    return (mean, max(low, least), min(high, 1.0), n) if info.share and low == low else found


def differences(report: pd.DataFrame, infos: Sequence[MetricInfo] = ()) -> pd.DataFrame:
    """First arm minus each other arm, paired by seed, for every metric that has a direction.

    Pairing removes what the two arms share (weather, traffic, positions). The verdict is that of the first arm, and one is only given
    where the 95 % interval of the mean difference excludes zero; without two common seeds nothing is tested. `p` is of the paired t-test;
    `p_holm` is adjusted by Holm's method for all rows of the same `family`: one metric against all rivals, and the horizons or reasons of
    a metric that has several together.
    """
    report = complete(report, infos)
    arms = list(report["arm"].unique())
    rows = []
    for info in ordered_metrics(report, infos):
        if info.better is None:
            continue
        table = report[report["metric"] == info.name].pivot(index="seed", columns="arm", values="value")
        for other in arms[1:]:
            if arms[0] not in table or other not in table:
                continue
            gap = paired(table[arms[0]].to_numpy(float), table[other].to_numpy(float))
            if not len(gap):
                continue
            mean, low, high, n = of_difference(info, mean_interval(gap))
            rows.append((info.name, info.unit, arms[0], other, mean, low, high, n, _p_value(gap),
                         family(info.name, infos), np.nan, _verdict(low, high, info.better)))
    frame = pd.DataFrame(rows, columns=DIFFERENCE_COLUMNS)
    adjusted = frame.groupby("family", sort=False)["p"].transform(lambda p: holm(p.to_numpy(float)))
    return frame.assign(p_holm=adjusted.astype(float))


def of_difference(info: MetricInfo, found: tuple[float, float, float, int]) -> tuple[float, float, float, int]:
    """Return *found*, mean and interval of a difference, that of two shares cut off at -1 and 1."""
    return _cut_off(info, -1.0, found)


def paired(first: Floats, second: Floats) -> Floats:
    """Return *first* minus *second* where both are finite; what numbers differ by when they are rounded is 0."""
    both = np.isfinite(first) & np.isfinite(second)
    gap = first[both] - second[both]
    rounding = ROUNDING * np.maximum(np.abs(first[both]), np.abs(second[both]))
    return np.where(np.abs(gap) <= rounding, 0.0, gap)


def _p_value(gap: Floats) -> float:
    """Two-sided p of the paired t-test."""
    from scipy.special import stdtr

    n = len(gap)
    if n < 2:
        return float("nan")
    error = float(gap.std(ddof=1)) / n**0.5
    if np.ptp(gap) <= ROUNDING * np.abs(gap).max():
        return 1.0 if gap[0] == 0 else 0.0
    return float(2 * stdtr(n - 1, -abs(float(gap.mean())) / error))


def _verdict(low: float, high: float, better: str) -> str:
    if not np.isfinite(high - low):
        return UNTESTED
    if not (low > 0 or high < 0):
        return UNDECIDED
    return "better" if (low > 0) == (better == "higher") else "worse"


def holm(p: Floats) -> Floats:
    """Holm's step-down adjustment of the finite *p*; NaN stays NaN."""
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(order) else steps
    return adjusted


def multiplicity_note(frame: pd.DataFrame, *, bears: bool = True) -> str:
    """Say how many comparisons a frame of differences holds, and what chance alone would make of them.

    Nothing is counted of a run that *bears* no verdicts.
    """
    tested = int(frame["p"].notna().sum())
    if not tested:
        return "No paired comparison could be made: that takes two arms and at least two common seeds."
    seeds = int(frame["n"].max())
    paired = f"{counted(tested, 'paired comparison')} over {counted(seeds, 'seed')}."
    if not bears:
        return f"{paired} No verdict is given on them."
    called = int(((frame["ci95_low"] > 0) | (frame["ci95_high"] < 0)).sum())
    held = int((frame["p_holm"] < 1 - CONFIDENCE).sum())
    families = frame["family"].nunique()
    return (
        f"{paired} Intervals that exclude zero: {called}, where chance alone would give about "
        f"{(1 - CONFIDENCE) * tested:.2g}. After Holm's adjustment within each of {families} famil{'ies' if families > 1 else 'y'} (one "
        f"metric against all rivals, all horizons of it together), p stays below 0.05 in {held}; nothing adjusts across families."
    )
