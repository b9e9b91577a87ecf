"""What a comparison of continual learners says, in sentences that its intervals carry."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from toolkit.analysis.comparison import Comparison
from toolkit.analysis.findings import LESS, comparable, in_short, not_comparable, rivals, row_of, verdicts, with_interval

LEARNT = ("class_il", "task_il", "forgetting")
COSTS = ("end_s", "energy_total_j", "memory_nbytes")
WORDS = {"class_il": ("higher than", "lower than"), "task_il": ("higher than", "lower than"), "end_s": ("shorter than", "longer than")}


def continual_findings(result: Comparison) -> list[str]:
    """Compare the first arm with the others in what is known at the end, what was forgotten, and what it cost.

    Arms called ``method@budget`` are compared within each budget instead: who knows most, and against whom the intervals show it.
    """
    if result.standing.bears and all("@" in arm for arm in result.arms):
        return [_who_wins(result, budget) for budget in dict.fromkeys(arm.partition("@")[2] for arm in result.arms)]
    metrics = [info for info in result.described if info.name in LEARNT + COSTS]
    if not comparable(result):
        sentences = [not_comparable(result)]
        for arm in result.arms:
            rows = {info: row_of(result, arm, info.name) for info in metrics}
            told = ", ".join(f"{info.label} {with_interval(info, row)}" for info, row in rows.items() if row is not None)
            sentences.append(f"{arm}: {told}.")
        return sentences
    sentences = [in_short(result, LEARNT), in_short(result, COSTS)]
    sentences += [verdicts(result, info, WORDS.get(info.name, LESS)) for info in metrics]
    return [sentence for sentence in sentences if sentence]


def _who_wins(result: Comparison, budget: str) -> str:
    """``With equal time, DER++ ends highest in class-IL accuracy, 0.91 ± 0.02: higher than ER (…); no difference shown against …``."""
    own = result.report[result.report["arm"].str.endswith(f"@{budget}").to_numpy(bool)]
    own = own.assign(arm=own["arm"].str.partition("@")[0])
    means = own[own["metric"] == LEARNT[0]].groupby("arm")["value"].mean().sort_values(ascending=False, kind="stable")
    ranked = own.assign(arm=pd.Categorical(own["arm"], list(means.index))).sort_values("arm", kind="stable")
    group = replace(result, report=ranked.assign(arm=ranked["arm"].astype(str)))
    info = next(info for info in group.described if info.name == LEARNT[0])
    best, row = group.arms[0], row_of(group, group.arms[0], info.name)
    if row is None:
        return f"With equal {budget} nothing was learnt."
    found = rivals(group, info, WORDS[info.name])
    return f"With equal {budget}, {best} ends highest in {info.label}, {with_interval(info, row)}: {found or 'alone'}."
