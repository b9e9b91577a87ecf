"""What a comparison of data-parallel training says, in sentences that its intervals carry."""

from __future__ import annotations

from toolkit.analysis.comparison import Comparison
from toolkit.analysis.findings import (
    LESS,
    comparable,
    in_short,
    not_comparable,
    percent_of,
    rivals,
    row_of,
    verdicts,
    with_interval,
)
from toolkit.analysis.metric import MetricInfo
from toolkit.cluster.report import came_to, downtime, late_crashes
from toolkit.core.words import counted, listed

JUDGED = ("final_accuracy", "end_s", "bytes_busiest_worker", "energy_total_j", "local_s", "wire_s")
IN_SHORT = JUDGED[:4]
WORDS = {"final_accuracy": ("higher than", "lower than"), "end_s": ("shorter than", "longer than")}


def distributed_findings(result: Comparison) -> list[str]:
    """Compare the first arm with the others: targets, accuracy, seconds, bytes and joules, and where the time goes.

    Differences are the first arm minus the other, paired by seed. Where no interval can be made, nothing is claimed.
    """
    metrics = result.described
    targets = [info for info in metrics if info.name.startswith("time_to_accuracy@")]
    if not comparable(result):
        sentences = [
            not_comparable(result), came_to(result, IN_SHORT),
            *(reached(result, info) for info in targets), _time(result), downtime(result), late_crashes(result),
        ]
    else:
        sentences = [
            in_short(result, IN_SHORT), *(target_told(result, info) for info in targets),
            *(verdicts(result, info, WORDS.get(info.name, LESS)) for info in metrics if info.name in JUDGED),
            _time(result), downtime(result), late_crashes(result),
        ]
    return [sentence for sentence in sentences if sentence]


def target_told(result: Comparison, info: MetricInfo) -> str:
    """``A reaches test accuracy 0.95 in 12.3 ± 1.1 s; sooner than B (…); not reached in all seeds by C (no seed)``."""
    own = reached(result, info)
    compared = rivals(result, info, ("sooner than", "later than"))
    missed, paired = [], result.differences[result.differences["metric"] == info.name].set_index("other")["n"]
    for arm in result.arms[1:]:
        row = row_of(result, arm, info.name)
        if row is None:
            missed.append(f"{arm} (no seed)")
        elif row["n"] < len(result.seeds):
            missed.append(f"{arm} ({int(row['n'])} of {counted(len(result.seeds), 'seed')})")
    parts = [own.rstrip(".")]
    if compared:
        some = any(1 < n < len(result.seeds) for n in paired)
        parts.append(compared + (", each over the seeds in which both reached it" if some else ""))
    if missed:
        parts.append(f"not reached in all seeds by {listed(missed)}")
    return "; ".join(parts) + "."


def reached(result: Comparison, info: MetricInfo) -> str:
    """Whether, and when, the first arm reached a target."""
    first, level, seeds = result.arms[0], info.name.partition("@")[2], len(result.seeds)
    row = row_of(result, first, info.name)
    if row is None:
        return f"{first} does not reach test accuracy {level} in any of {counted(seeds, 'seed')}."
    often = "" if row["n"] == seeds else f" in {int(row['n'])} of {counted(seeds, 'seed')}, there"
    return f"{first} reaches test accuracy {level}{often} in {with_interval(info, row)}."


def _time(result: Comparison) -> str:
    """Where the time of the first arm's workers goes, and between which bounds the wire's share lies for the others."""
    first = result.arms[0]
    parts = {
        "share_computing": "on gradients", "share_compressing": "on compressing", "share_merging": "on adding and merging what arrived",
        "share_wire": "on the wire or waiting",
    }
    rows = {name: row_of(result, first, name) for name in parts}
    spent = [f"{percent_of(float(row['mean']))} {parts[name]}" for name, row in rows.items() if row is not None]
    if not spent:
        return ""
    summary = result.summary
    wire = summary[(summary["metric"] == "share_wire") & (summary["arm"] != first) & (summary["n"] > 0)]
    sentence = f"On average a worker of {first} spends {listed(spent)} of its time"
    if len(wire) == 1:
        sentence += f"; one of {wire['arm'].iloc[0]} spends {percent_of(float(wire['mean'].iloc[0]))} on the wire or waiting"
    elif len(wire):
        ordered = wire.sort_values("mean", kind="stable")
        low, high = ordered.iloc[0], ordered.iloc[-1]
        sentence += (
            f"; on the wire or waiting, the others spend from {percent_of(float(low['mean']))} ({low['arm']}) "
            f"to {percent_of(float(high['mean']))} ({high['arm']})"
        )
    return sentence + "."
