"""The verdict: what a comparison has shown, in at most five sentences, before any table.

Only what survives Holm's adjustment is said, metric by metric in the order of the report's headline; of a metric at several horizons the
first. Where nothing survives, that is said, with what was compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from toolkit.analysis.comparison import Comparison
from toolkit.analysis.findings import value_of
from toolkit.analysis.metric import MetricInfo, family
from toolkit.analysis.statistics import CONFIDENCE
from toolkit.core.words import counted, listed

MOST = 5
"""Sentences of a verdict."""
NAMED = 3
"""Rivals that a sentence names with their intervals; of the others it tells the number."""
WORDS = (("higher than", 1.0), ("lower than", -1.0))
LEVEL = 1 - CONFIDENCE


def verdict(result: Comparison) -> list[str]:
    """Return at most `MOST` sentences; why there is no verdict where the run bears none."""
    if len(result.arms) < 2:
        return [f"There is one arm, {result.arms[0]}, and so nothing to compare it with."]
    if not result.standing.bears:
        return result.standing.sentences
    groups = by_budget(result)
    if len(groups) > 1:
        return [_one_group(group, budget) for budget, group in list(groups.items())[:MOST]]
    return _sentences(result)


def by_budget(result: Comparison) -> dict[str, Comparison]:
    """Return the comparisons that a run holds: one for each budget where all arms are called ``method@budget``, else itself."""
    budgets = list(dict.fromkeys(arm.partition("@")[2] for arm in result.arms))
    if not all(budgets):
        return {"": result}
    arms = {budget: [arm for arm in result.arms if arm.endswith(f"@{budget}")] for budget in budgets}
    return {budget: replace(result, report=result.report[result.report["arm"].isin(own).to_numpy(bool)]) for budget, own in arms.items()}


def _sentences(result: Comparison) -> list[str]:
    tested = _tested(result)
    if tested.empty:
        return [f"Nothing was tested: the {counted(len(result.arms), 'arm')} are shown side by side, and none of their metrics is judged."]
    holding = tested[(tested["p_holm"] < LEVEL).to_numpy(bool)]
    first, label = result.arms[0], _metrics_of(result, tested)
    whom = f"{first} was compared with {_arms(list(dict.fromkeys(tested['other'])))} in {label} over {counted(len(result.seeds), 'seed')}"
    if holding.empty:
        return [
            f"No difference was shown. {whom}: none of the {counted(len(tested), 'paired difference')} stands after Holm's adjustment for "
            "their number."
        ]
    first_of: dict[str, MetricInfo] = {}
    for info in result.headline:
        if info.name in set(holding["metric"]):
            first_of.setdefault(family(info.name, result.infos), info)
    told = list(first_of.values())[: MOST - 1]
    sentences = [_sentence(result, info, holding, tested) for info in told]
    left = int((~holding["metric"].isin([info.name for info in told])).sum())
    more = f", {left} of them in other metrics than these" if left else ""
    return [*sentences, f"{whom}; {len(holding)} of {counted(len(tested), 'paired difference')} stand after Holm's adjustment{more}."]


def _one_group(group: Comparison, budget: str) -> str:
    """The most important finding of one budget."""
    tested = _tested(group)
    holding = tested[(tested["p_holm"] < LEVEL).to_numpy(bool)]
    info = next((info for info in group.headline if info.name in set(holding["metric"])), None)
    if info is None:
        whom = _arms(list(dict.fromkeys(tested["other"])))
        return f"With equal {budget} no difference of {group.arms[0]} to {whom} was shown in {_metrics_of(group, tested)}."
    return f"With equal {budget}: {_sentence(group, info, holding, tested)}"


def _tested(result: Comparison) -> pd.DataFrame:
    """The paired differences of headline metrics for which there is a test."""
    rows = result.differences
    names = [info.name for info in result.headline]
    return rows[rows["metric"].isin(names).to_numpy(bool) & rows["p"].notna().to_numpy(bool)]


def _sentence(result: Comparison, info: MetricInfo, holding: pd.DataFrame, tested: pd.DataFrame) -> str:
    """``Delivery ratio of A is higher than that of B (by 0.18, 95 % interval 0.08 to 0.27); no difference shown to 3 others.``"""
    own, others = holding[holding["metric"] == info.name], tested[tested["metric"] == info.name]
    parts = []
    for word, sign in WORDS:
        rows = own[(np.sign(own["mean"].to_numpy(float)) == sign)]
        if len(rows):
            parts.append(f"{word} that of {_rivals(info, rows, sign)}")
    even = len(others) - len(own)
    if even:
        parts.append(f"no difference is shown to {counted(even, 'other arm')}")
    return f"{info.label[:1].upper()}{info.label[1:]} of {result.arms[0]} is {'; '.join(parts)}."


def _rivals(info: MetricInfo, rows: pd.DataFrame, sign: float) -> str:
    """The rivals from the farthest to the nearest, the first of them with differences and intervals."""
    ordered = rows.reindex(rows["mean"].abs().sort_values(ascending=False, kind="stable").index)
    told: list[str] = []
    for row in ordered.head(NAMED).to_dict("records"):
        low, high = sorted(abs(float(row[name])) for name in ("ci95_low", "ci95_high"))
        said = "95 % interval " * (not told)
        mean = sign * float(row["mean"])
        ends = f"{said}{value_of(info, low, like=mean, unit=False)} to {value_of(info, high, like=mean)}" if low < high else "in every seed"
        told.append(f"{row['other']} (by {value_of(info, mean)}, {ends})")
    left = len(ordered) - NAMED
    return listed([*told, *([counted(left, "other arm")] if left > 0 else [])])


def _metrics_of(result: Comparison, tested: pd.DataFrame) -> str:
    names = set(tested["metric"])
    labels = [info.label for info in result.headline if info.name in names]
    return listed(labels) if len(labels) <= MOST else f"{counted(len(labels), 'metric')}"


def _arms(names: Sequence[str]) -> str:
    return listed(names) if len(names) <= NAMED else counted(len(names), "other arm")
