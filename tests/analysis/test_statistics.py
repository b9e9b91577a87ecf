"""Means, intervals, paired differences and verdicts against hand calculations and SciPy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from toolkit.analysis.metric import MetricInfo, describe, ordered_metrics
from toolkit.analysis.statistics import REPORT_COLUMNS, complete, differences, holm, mean_interval, multiplicity_note, summarise
from toolkit.core.words import counted

GAIN = MetricInfo("gain", "dB", "gain", "higher", 2, headline=True)
COST = MetricInfo("cost", "J", "cost", "lower", 1)
INFOS = [GAIN, COST, MetricInfo("lost_*", "1", "lost: {}", absent=0.0)]


def frame(**arms: dict[str, list[float]]) -> pd.DataFrame:
    """A report of arm=dict(metric=values of seeds 1, 2, …)."""
    rows = [
        (arm, seed, metric, "1", value)
        for arm, metrics in arms.items() for metric, values in metrics.items() for seed, value in enumerate(values, 1)
    ]
    return pd.DataFrame(rows, columns=REPORT_COLUMNS)


def test_interval_is_that_of_scipy() -> None:
    values = np.array([1.0, 2.0, 4.0, 4.5])
    mean, low, high, n = mean_interval(values)
    expected = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values))
    assert (mean, n) == (2.875, 4)
    assert (low, high) == pytest.approx(expected, rel=1e-9)


def test_one_value_has_no_interval_and_none_has_no_mean() -> None:
    assert mean_interval(np.array([3.0]))[0] == 3.0
    assert np.isnan(mean_interval(np.array([3.0]))[1:3]).all()
    assert np.isnan(mean_interval(np.array([np.nan]))[0])
    assert mean_interval(np.array([np.nan, 1.0, 3.0]))[::3] == (2.0, 2)


def test_intervals_hold_the_true_mean_19_times_in_20() -> None:
    rng = np.random.default_rng(1)
    held = [low < 5.0 < high for _, low, high, _ in (mean_interval(rng.normal(5.0, 2.0, 4)) for _ in range(2000))]
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)


def test_summary_keeps_the_order_of_arms_and_metrics() -> None:
    summary = summarise(frame(zulu={"cost": [1, 3], "gain": [5, 7]}, alpha={"gain": [1, 1]}), INFOS)
    assert list(zip(summary["arm"], summary["metric"], summary["mean"], strict=True)) == [
        ("zulu", "gain", 6.0), ("zulu", "cost", 2.0), ("alpha", "gain", 1.0),
    ]


def test_a_loss_that_did_not_happen_counts_as_zero() -> None:
    report = frame(a={"gain": [1, 1, 1], "lost_noise": [0.3]}, b={"gain": [1, 1, 1]})
    summary = summarise(report, INFOS).set_index(["arm", "metric"])
    assert summary.loc[("a", "lost_noise"), "mean"] == pytest.approx(0.1)
    assert summary.loc[("b", "lost_noise"), ["mean", "n"]].tolist() == [0.0, 3]
    once = complete(report, INFOS)
    assert once.index.tolist() == list(range(len(report) + 5))
    assert complete(once, INFOS).equals(once)


def test_pairing_finds_what_the_luck_of_seeds_hides() -> None:
    luck = np.array([0.0, 10.0, 20.0, 30.0])
    ours = luck + np.array([1.0, 1.1, 0.9, 1.0])
    report = frame(ours={"gain": ours.tolist()}, theirs={"gain": luck.tolist()})
    row = differences(report, INFOS).iloc[0]
    assert stats.ttest_ind(ours, luck).pvalue > 0.9
    assert row["mean"] == pytest.approx(1.0)
    assert row["verdict"] == "better"
    assert row["p"] == pytest.approx(stats.ttest_rel(ours, luck).pvalue, rel=1e-6)


def test_seeds_are_paired_by_number_whatever_their_order() -> None:
    report = frame(ours={"gain": [1.0, 2.0, 3.0]}, theirs={"gain": [0.0, 1.0, 2.0]})
    assert differences(report.iloc[::-1].sort_values("arm", kind="stable"), INFOS)["mean"].tolist() == [1.0]
    lacking = report[~((report["arm"] == "theirs") & (report["seed"] == 2))]
    assert differences(lacking, INFOS)[["mean", "n"]].iloc[0].tolist() == [1.0, 2]


@pytest.mark.parametrize(("metric", "ours", "verdict"), [
    ("gain", [5.0, 6.1, 7.0], "better"), ("gain", [-5.0, -6.1, -7.0], "worse"),
    ("cost", [5.0, 6.1, 7.0], "worse"), ("cost", [-5.0, -6.1, -7.0], "better"),
    ("gain", [5.0, -6.0, 1.0], "no difference shown"), ("gain", [5.0], "not tested"),
])
def test_verdict_follows_the_direction_of_the_metric(metric: str, ours: list[float], verdict: str) -> None:
    report = frame(ours={metric: ours}, theirs={metric: [0.0] * len(ours)})
    assert differences(report, INFOS)["verdict"].tolist() == [verdict]


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1.0, 1e6])
@pytest.mark.parametrize("metric", ["gain", "cost"])
def test_a_verdict_knows_no_units(scale: float, metric: str) -> None:
    """Nor does it change but for its sign where the arms change places."""
    ours, theirs = [5.0, 6.1, 7.0], [4.0, 5.0, 6.2]
    rows = []
    for first, second in ((ours, theirs), (theirs, ours)):
        report = frame(a={metric: [scale * x for x in first]}, b={metric: [scale * x for x in second]})
        rows += list(differences(report, INFOS).itertuples())
    row, turned = rows
    assert (row.verdict, turned.verdict) == (("better", "worse") if metric == "gain" else ("worse", "better"))
    assert turned.mean == pytest.approx(-row.mean)
    assert (turned.ci95_low, turned.ci95_high) == pytest.approx((-row.ci95_high, -row.ci95_low))
    assert turned.p == pytest.approx(row.p)


def test_equal_arms_do_not_differ_and_rounding_is_no_difference() -> None:
    report = frame(ours={"gain": [0.1 + 0.2, 0.7]}, theirs={"gain": [0.3, 0.7]})
    row = differences(report, INFOS).iloc[0]
    assert (row["mean"], row["p"], row["verdict"]) == (0.0, 1.0, "no difference shown")


def test_metrics_without_direction_are_not_judged() -> None:
    assert differences(frame(ours={"hops": [5, 6]}, theirs={"hops": [1, 2]}), INFOS).empty


def test_holm_by_hand() -> None:
    assert holm(np.array([0.01, 0.04, np.nan, 0.03])) == pytest.approx([0.03, 0.06, np.nan, 0.06], nan_ok=True)
    assert holm(np.array([0.5, 0.9])).tolist() == [1.0, 1.0]
    assert holm(np.array([])).tolist() == []


def test_the_note_counts_comparisons() -> None:
    report = frame(a={"gain": [1.0, 1.1, 0.9]}, b={"gain": [0.0, 0.0, 0.0]}, c={"gain": [1.0, 0.8, 1.2]})
    note = multiplicity_note(differences(report, INFOS))
    assert note.startswith("2 paired comparisons over 3 seeds. Intervals that exclude zero: 1, where chance alone would give about 0.1.")
    assert note.endswith("within each of 1 family (one metric against all rivals, all horizons of it together), p stays below 0.05 in 1; "
                         "nothing adjusts across families.")
    assert "No paired comparison" in multiplicity_note(differences(frame(a={"gain": [1.0]}), INFOS))


def test_what_the_note_counts_as_held_are_the_adjusted_p_below_a_twentieth() -> None:
    """Two families; the p of one comparison is below 0.05 by itself and no longer after it is adjusted for two."""
    rng = np.random.default_rng(4)
    arms = {name: {"gain": rng.normal(mean, 1.0, 6).tolist(), "cost": rng.normal(0, 1, 6).tolist()}
            for name, mean in (("a", 3.0), ("b", 0.0), ("c", 1.6))}
    rows = differences(frame(**arms), INFOS)
    p, adjusted = rows["p"].to_numpy(), rows["p_holm"].to_numpy()
    assert 0 < (adjusted < 0.05).sum() < len(rows)
    note = multiplicity_note(rows)
    assert f"p stays below 0.05 in {int((adjusted < 0.05).sum())};" in note
    assert f"exclude zero: {int((p < 0.05).sum())}," in note
    assert "each of 2 families" in note


def test_holm_adjusts_within_a_metric_and_its_horizons() -> None:
    infos = [GAIN, MetricInfo("rmse@*", "dB", "rmse at {}", "lower")]
    rng = np.random.default_rng(2)
    names = ["gain", "rmse@1h", "rmse@6h"]
    report = frame(**{arm: {name: rng.normal(0, 1, 4).tolist() for name in names} for arm in "abc"})
    rows = differences(report, infos)
    assert dict(zip(rows["metric"], rows["family"], strict=True)) == {"gain": "gain", "rmse@1h": "rmse@*", "rmse@6h": "rmse@*"}
    for _, group in rows.groupby("family"):
        assert group["p_holm"].to_numpy() == pytest.approx(holm(group["p"].to_numpy()))
    assert rows.groupby("family").size().to_dict() == {"gain": 2, "rmse@*": 4}


def test_families_of_metrics_and_natural_order() -> None:
    info = describe("lost_no_route", INFOS)
    assert (info.name, info.label, info.absent) == ("lost_no_route", "lost: no route", 0.0)
    report = frame(a={"rmse@12h": [1], "rmse@0.5h": [1], "rmse@6h": [1], "gain": [1]})
    assert [info.name for info in ordered_metrics(report, INFOS)] == ["gain", "rmse@0.5h", "rmse@6h", "rmse@12h"]


def test_numbers_as_text() -> None:
    assert GAIN.with_interval(1.234, 1.0, 1.468) == "1.23 ± 0.23"
    assert GAIN.with_interval(1.234, np.nan, np.nan) == "1.23"
    assert (GAIN.text(0.00123), GAIN.text(0.0), GAIN.text(np.nan)) == ("0.0012", "0.00", "–")
    assert [GAIN.text(value, sign=True) for value in (0.001, -0.25, 0.0)] == ["+0.001", "-0.25", "0.00"]


def test_rounding_is_no_interval() -> None:
    """Values that differ in their last digit only have no width, and no ``± 7e-16`` is told."""
    mean, low, high, n = mean_interval(np.array([0.1 + 0.2, 0.3, 0.3]))
    assert (low, high, n) == (mean, mean, 3)
    assert GAIN.with_interval(mean, low, high) == "0.30"


def test_the_interval_of_a_share_ends_at_0_and_1_and_holds_the_same_truths() -> None:
    share = MetricInfo("ratio", "1", "ratio", "higher", 3, share=True)
    row = summarise(frame(a={"ratio": [1.0, 0.99, 0.9]}), [share]).iloc[0]
    _, low, high, _ = mean_interval(np.array([1.0, 0.99, 0.9]))
    assert high > 1.0
    assert (row["ci95_low"], row["ci95_high"]) == (low, 1.0)
    assert share.with_interval(row["mean"], row["ci95_low"], row["ci95_high"]) == "0.963 (0.827 … 1.000)"
    assert share.with_interval(0.5, 0.4, 0.6) == "0.500 ± 0.100"
    gap = differences(frame(a={"ratio": [1.0, 0.2]}, b={"ratio": [0.1, 0.1]}), [share]).iloc[0]
    assert (gap["ci95_low"], gap["ci95_high"]) == (-1.0, 1.0), "two shares differ by no more than 1"
    free = summarise(frame(a={"ratio": [1.0, 0.99, 0.9]}), [MetricInfo("ratio", "1", "ratio")]).iloc[0]
    assert free["ci95_high"] == high


def test_numbers_of_things_agree_with_their_nouns() -> None:
    assert [counted(n, "seed") for n in (0, 1, 2, 1200)] == ["0 seeds", "1 seed", "2 seeds", "1,200 seeds"]
    one = differences(frame(a={"gain": [1.0, 1.1]}, b={"gain": [0.0, 0.0]}), INFOS)
    assert multiplicity_note(one).startswith("1 paired comparison over 2 seeds.")
    assert multiplicity_note(one, bears=False) == "1 paired comparison over 2 seeds. No verdict is given on them."
