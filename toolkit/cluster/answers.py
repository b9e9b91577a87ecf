"""What a comparison of clusters says, in sentences that its intervals carry."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from toolkit.cluster.report import CLUSTER_METRICS
from toolkit.core.device import amount
from toolkit.report import MetricInfo, Result, describe, ordered_metrics

JUDGED = ("final_accuracy", "end_s", "bytes_busiest_worker", "energy_total_j", "local_s", "wire_s")
IN_SHORT = JUDGED[:4]
UNDECIDED = "no difference shown"
NAMED = 5
"""Of so many rivals with the same verdict, each is told with its numbers."""
WORDS = {"final_accuracy": ("higher than", "lower than"), "end_s": ("shorter than", "longer than")}


def cluster_answers(result: Result) -> list[str]:
    """Compare the first arm with the others: targets, accuracy, seconds, bytes and joules, and where the time goes.

    Differences are the first arm minus the other, paired by seed. Where no interval can be made, nothing is claimed.
    """
    metrics = ordered_metrics(result.report, CLUSTER_METRICS)
    targets = [info for info in metrics if info.name.startswith("time_to_accuracy@")]
    if len(result.arms) < 2 or len(result.seeds) < 2:
        sentences = [
            f"One arm or one seed only: no comparison can be made ({', '.join(result.arms)}).",
            _own(result), *(_reached(result, info) for info in targets), _time(result), _downtime(result),
        ]
    else:
        sentences = [
            _in_short(result), *(_target(result, info) for info in targets),
            *(_verdicts(result, info) for info in metrics if info.name in JUDGED), _time(result), _downtime(result),
        ]
    return [sentence for sentence in sentences if sentence]


def _row(result: Result, arm: str, metric: str) -> pd.Series | None:
    """Mean, interval and number of seeds of one arm; None where no seed has a value."""
    summary = result.summary
    rows = summary[(summary["arm"] == arm) & (summary["metric"] == metric) & (summary["n"] > 0)]
    return None if rows.empty else rows.iloc[0]


def _own(result: Result) -> str:
    """What the first arm came to by itself."""
    parts = []
    for name in IN_SHORT:
        row = _row(result, result.arms[0], name)
        if row is not None:
            info = describe(name, CLUSTER_METRICS)
            parts.append(f"{info.label} {_with_interval(info, row)}")
    return f"{result.arms[0]}: {', '.join(parts)}." if parts else ""


def _in_short(result: Result) -> str:
    """Count the verdicts on accuracy, time, bytes and energy."""
    rows = result.differences[result.differences["metric"].isin(IN_SHORT) & (result.differences["n"] > 1)]
    if rows.empty:
        return ""
    better, worse, even = (int((rows["verdict"] == verdict).sum()) for verdict in ("better", "worse", UNDECIDED))
    which = [info.label for info in ordered_metrics(result.report, CLUSTER_METRICS) if info.name in set(rows["metric"])]
    return (
        f"In short, of the {len(rows)} comparisons of {result.arms[0]} with the others in {_listed(which)}, it is better in {better}, "
        f"worse in {worse} and not told apart in {even}."
    )


def _target(result: Result, info: MetricInfo) -> str:
    """``A reaches test accuracy 0.95 in 12.3 ± 1.1 s; sooner than B (…); not reached in all seeds by C (no seed)``."""
    own = _reached(result, info)
    compared = _by_verdict(result, info, ("sooner than", "later than"))
    missed, paired = [], result.differences[result.differences["metric"] == info.name].set_index("other")["n"]
    for arm in result.arms[1:]:
        row = _row(result, arm, info.name)
        if row is None:
            missed.append(f"{arm} (no seed)")
        elif row["n"] < len(result.seeds):
            missed.append(f"{arm} ({int(row['n'])} of {len(result.seeds)} seeds)")
    parts = [own.rstrip(".")]
    if compared:
        some = any(1 < n < len(result.seeds) for n in paired)
        parts.append(compared + (", each over the seeds in which both reached it" if some else ""))
    if missed:
        parts.append(f"not reached in all seeds by {_listed(missed)}")
    return "; ".join(parts) + "."


def _reached(result: Result, info: MetricInfo) -> str:
    """Whether, and when, the first arm reached a target."""
    first, level, seeds = result.arms[0], info.name.partition("@")[2], len(result.seeds)
    row = _row(result, first, info.name)
    if row is None:
        return f"{first} does not reach test accuracy {level} in any of {seeds} seed{'s' * (seeds != 1)}."
    often = "" if row["n"] == seeds else f" in {int(row['n'])} of {seeds} seeds, there"
    return f"{first} reaches test accuracy {level}{often} in {_with_interval(info, row)}."


def _verdicts(result: Result, info: MetricInfo) -> str:
    """``Energy in all of A, 800 ± 10 J: less than B (900 J; difference −100, 95 % interval −120 to −80 J)``."""
    own = _row(result, result.arms[0], info.name)
    found = _by_verdict(result, info, WORDS.get(info.name, ("less than", "more than")))
    if own is None or not found:
        return ""
    label = f"{info.label[:1].upper()}{info.label[1:]}{',' * (',' in info.label)}"
    return f"{label} of {result.arms[0]}, {_with_interval(info, own)}: {found}."


def _by_verdict(result: Result, info: MetricInfo, words: tuple[str, str]) -> str:
    """The rivals under each verdict with their mean, the difference and its interval; empty where nothing can be compared.

    Of more than `NAMED` rivals with the same verdict, numbers are given for the nearest alone; the table of differences has the rest.
    """
    differences = result.differences
    rows = differences[(differences["metric"] == info.name) & (differences["n"] > 1)]
    parts, explained = [], False
    for verdict, word in (("better", words[0]), ("worse", words[1]), (UNDECIDED, f"{UNDECIDED} against")):
        group = sorted(rows[rows["verdict"] == verdict].to_dict("records"), key=lambda row: abs(row["mean"]))
        told = []
        for row in group if len(group) <= NAMED else group[:1]:
            own = _row(result, str(row["other"]), info.name)
            mean = f"{_value(info, float(own['mean']))}; " if own is not None else ""
            gap = _difference(info, row["mean"], row["ci95_low"], row["ci95_high"], explain=not explained)
            told.append(f"{row['other']} ({mean}{gap})")
            explained = True
        if len(group) > NAMED:
            parts.append(f"{word} {len(group)} arms, nearest {told[0]}, then {_listed([str(row['other']) for row in group[1:]])}")
        elif told:
            parts.append(f"{word} {_listed(told)}")
    return "; ".join(parts)


def _difference(info: MetricInfo, mean: float, low: float, high: float, *, explain: bool) -> str:
    """The difference and its interval; only the first of a sentence says what the numbers are."""
    if _same(high - low, mean):
        return f"{'difference ' if explain else ''}{_signed(info, mean)} in every seed"
    words = "difference {}, 95 % interval {} to {}" if explain else "{}, {} to {}"
    return words.format(_signed(info, mean, unit=False), _signed(info, low, unit=False), _signed(info, high))


def _signed(info: MetricInfo, value: float, *, unit: bool = True) -> str:
    return ("-" if value < 0 else "+" if value > 0 else "") + _value(info, abs(value), unit=unit)


def _with_interval(info: MetricInfo, row: pd.Series) -> str:
    """Mean and half of its interval; the mean alone where all seeds agree to the last digit or there is only one."""
    mean, low, high = (float(row[column]) for column in ("mean", "ci95_low", "ci95_high"))
    half = (high - low) / 2
    if not np.isfinite(half) or _same(half, mean):
        return _value(info, mean)
    return f"{_value(info, mean, unit=False)} ± {_value(info, half, digits=2)}"


def _same(width: float, value: float) -> bool:
    """Whether an interval is no wider than the rounding of numbers."""
    return width <= 1e-9 * abs(value) or width == 0


def _value(info: MetricInfo, value: float, *, unit: bool = True, digits: int = 3) -> str:
    """A value with its unit, to so many significant figures; bytes always as kB, MB and so on."""
    if info.unit == "B":
        return amount(value)
    name = "" if info.unit in {"", "1"} or not unit else f" {info.unit}"
    return (f"{value:.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}") + name


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _time(result: Result) -> str:
    """Where the time of the first arm's workers goes, and between which bounds the wire's share lies for the others."""
    first = result.arms[0]
    parts = {
        "share_computing": "on gradients", "share_compressing": "on compressing", "share_merging": "on adding and merging what arrived",
        "share_wire": "on the wire or waiting",
    }
    rows = {name: _row(result, first, name) for name in parts}
    spent = [f"{_percent(float(row['mean']))} {parts[name]}" for name, row in rows.items() if row is not None]
    if not spent:
        return ""
    summary = result.summary
    wire = summary[(summary["metric"] == "share_wire") & (summary["arm"] != first) & (summary["n"] > 0)]
    sentence = f"On average a worker of {first} spends {_listed(spent)} of its time"
    if len(wire) == 1:
        sentence += f"; one of {wire['arm'].iloc[0]} spends {_percent(float(wire['mean'].iloc[0]))} on the wire or waiting"
    elif len(wire):
        ordered = wire.sort_values("mean", kind="stable")
        low, high = ordered.iloc[0], ordered.iloc[-1]
        sentence += (
            f"; on the wire or waiting, the others spend from {_percent(float(low['mean']))} ({low['arm']}) "
            f"to {_percent(float(high['mean']))} ({high['arm']})"
        )
    return sentence + "."


def _percent(share: float) -> str:
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 10 or percent == 0 else f"{percent:.2g} %"


def _downtime(result: Result) -> str:
    """How long work stood still after crashes, where there were any."""
    info = describe("downtime_s", CLUSTER_METRICS)
    found = {arm: row for arm in result.arms if (row := _row(result, arm, info.name)) is not None and row["mean"] > 0}
    if not found:
        return ""
    return f"After crashes work stood still for {_listed([f'{_with_interval(info, row)} ({arm})' for arm, row in found.items()])}."
