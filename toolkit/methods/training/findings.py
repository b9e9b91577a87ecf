"""What a comparison of trainings says, in sentences that its intervals carry."""

from __future__ import annotations

import pandas as pd

from toolkit.analysis.comparison import Comparison
from toolkit.analysis.findings import by_verdict
from toolkit.analysis.metric import describe
from toolkit.analysis.statistics import UNDECIDED
from toolkit.core.words import counted

VERDICTS = {
    "better": "Its accuracy is higher than that of", "worse": "Its accuracy is lower than that of",
    UNDECIDED: "No difference in accuracy is shown to",
}


def training_findings(result: Comparison) -> list[str]:
    """Say what the paired intervals say of accuracy, and what an image costs each arm."""
    first, *others = result.arms
    own = _mean_of(result, "final_accuracy", first)
    seeds, info = int(own["n"]), describe("final_accuracy", result.infos)
    told = info.with_interval(float(own["mean"]), float(own["ci95_low"]), float(own["ci95_high"]))
    interval = f"95 % interval, {counted(seeds, 'seed')}" if seeds > 1 else "one seed, so no interval"
    sentences = [f"{first} ends with a test accuracy of {told} ({interval})."]
    for verdict, rows in by_verdict(result, "final_accuracy").items():
        rivals = [
            f"{row['other']} ({row['mean']:+.4f}, 95 % interval {row['ci95_low']:+.4f} to {row['ci95_high']:+.4f})" for row in rows
        ]
        if rivals:
            sentences.append(f"{VERDICTS[verdict]} {', '.join(rivals)}.")
    if others and "latency_s@1" in set(result.report["metric"]):
        latency_s = {arm: float(_mean_of(result, "latency_s@1", arm)["mean"]) for arm in result.arms}
        beside = [f"{arm} {1e3 * latency_s[arm]:.3g} ms" for arm in others]
        sentences.append(f"One image by itself takes {first} {1e3 * latency_s[first]:.3g} ms on this machine; {', '.join(beside)}.")
    return sentences


def _mean_of(result: Comparison, metric: str, arm: str) -> pd.Series:
    """Mean, interval and number of seeds of one arm."""
    summary = result.summary
    return summary[(summary["metric"] == metric) & (summary["arm"] == arm)].iloc[0]
