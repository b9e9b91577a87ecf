"""The verdict says what survives Holm's adjustment and nothing else, in five sentences at most."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from toolkit.analysis.comparison import Comparison
from toolkit.analysis.metric import MetricInfo
from toolkit.analysis.statistics import REPORT_COLUMNS
from toolkit.analysis.verdict import MOST, verdict

INFOS = [
    MetricInfo("gain", "1", "gain", "higher", 2, headline=True), MetricInfo("cost", "J", "cost", "lower", 1, headline=True),
    *(MetricInfo(f"more{i}", "s", f"more of {i}", "lower", 2, headline=True) for i in range(6)),
]


def comparison(directory: Path, values: dict[str, dict[str, list[float]]], versions: dict[str, object] | None = None) -> Comparison:
    """A run directory of arm=dict(metric=values of seeds 1, 2, …)."""
    rows = [
        (arm, seed, metric, "1", value)
        for arm, metrics in values.items() for metric, numbers in metrics.items() for seed, value in enumerate(numbers, 1)
    ]
    pd.DataFrame(rows, columns=REPORT_COLUMNS).to_csv(directory / "report.csv", index=False)
    (directory / "versions.json").write_text(json.dumps(versions or {}), encoding="utf-8")
    return Comparison.load(directory, INFOS)


CLEAR = [10.0, 10.1, 9.9, 10.05, 9.95]
LOW = [1.0, 1.1, 0.9, 1.0, 1.05]


def test_a_clear_difference_is_told_with_its_interval(tmp_path: Path) -> None:
    result = comparison(tmp_path, {"ours": {"gain": CLEAR, "cost": LOW}, "theirs": {"gain": LOW, "cost": LOW}})
    first, last = verdict(result)
    row = result.differences.set_index("metric").loc["gain"]
    assert first == (
        f"Gain of ours is higher than that of theirs (by {row['mean']:.3g}, 95 % interval {row['ci95_low']:.3g} to {row['ci95_high']:.3g})."
    )
    assert last == (
        "ours was compared with theirs in gain and cost over 5 seeds; 1 of 2 paired differences stand after Holm's adjustment."
    )


def test_what_does_not_survive_holm_is_not_told(tmp_path: Path) -> None:
    """Twelve rivals, each of whose intervals by itself might exclude zero: p = 0.03 does, and is not said."""
    rng = np.random.default_rng(3)
    values = {"ours": {"gain": rng.normal(0, 1, 5).tolist()}} | {f"rival{i}": {"gain": rng.normal(0, 1, 5).tolist()} for i in range(12)}
    values["near"] = {"gain": (np.array(values["ours"]["gain"]) - np.array([1.0, 0.2, 1.1, 0.6, 0.1])).tolist()}
    result = comparison(tmp_path, values)
    row = result.differences.set_index("other").loc["near"]
    assert row["p"] < 0.05 < row["p_holm"]
    (only,) = verdict(result)
    assert only.startswith("No difference was shown. ours was compared with 13 other arms in gain over 5 seeds")
    assert "near" not in only


def test_it_is_five_sentences_at_most(tmp_path: Path) -> None:
    names = [info.name for info in INFOS]
    result = comparison(tmp_path, {
        "ours": dict.fromkeys(names, CLEAR), **{f"rival{i}": {name: [x + i for x in LOW] for name in names} for i in range(7)},
    })
    found = verdict(result)
    assert len(found) == MOST
    assert "and 4 other arms" in found[0]
    assert re.search(r"stand after Holm's adjustment, \d+ of them in other metrics than these\.$", found[-1])


@pytest.mark.parametrize("versions", [{"quick": ["seeds 2 instead of 5"]}, {"quick": []}])
def test_a_quick_look_has_none(tmp_path: Path, versions: dict[str, object]) -> None:
    result = comparison(tmp_path, {"ours": {"gain": CLEAR}, "theirs": {"gain": LOW}}, versions)
    assert verdict(result) == result.standing.sentences
    assert set(result.differences["verdict"]) == {"no verdict"}


def test_one_seed_or_one_arm_has_none(tmp_path: Path) -> None:
    assert verdict(comparison(tmp_path, {"ours": {"gain": [1.0]}, "theirs": {"gain": [2.0]}}))[0].startswith("With one seed")
    assert verdict(comparison(tmp_path, {"ours": {"gain": CLEAR}})) == ["There is one arm, ours, and so nothing to compare it with."]


def test_where_no_metric_is_judged_nothing_was_tested(tmp_path: Path) -> None:
    found = verdict(comparison(tmp_path, {"ours": {"odd": CLEAR}, "theirs": {"odd": LOW}}))
    assert found == ["Nothing was tested: the 2 arms are shown side by side, and none of their metrics is judged."]


def test_arms_of_several_budgets_are_compared_within_each(tmp_path: Path) -> None:
    result = comparison(tmp_path, {
        "A@time": {"gain": CLEAR}, "B@time": {"gain": LOW}, "A@energy": {"gain": LOW}, "B@energy": {"gain": [2.0, 0.4, 1.0, 0.9, 1.1]},
    })
    time, energy = verdict(result)
    assert time.startswith("With equal time: Gain of A@time is higher than that of B@time (by ")
    assert energy == "With equal energy no difference of A@energy to B@energy was shown in gain."
