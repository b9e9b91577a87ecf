"""What a comparison at sea says, in sentences that its intervals carry."""

from __future__ import annotations

import numpy as np

from toolkit.analysis.comparison import Comparison
from toolkit.analysis.findings import Row, by_verdict, comparable, not_comparable, tally
from toolkit.analysis.metric import MetricInfo
from toolkit.analysis.statistics import UNDECIDED
from toolkit.core.words import listed

JUDGED = ("delivery_ratio", "delay_mean_s", "energy_per_delivered_j")
LIVES = ("death_first_d", "death_half_d", "cut_off_first_d")


def sea_findings(result: Comparison) -> list[str]:
    """Compare the first arm with the others: routing, forecasts, and what the computing takes.

    Differences are the first arm minus the other, paired by seed. Where no interval can be made, nothing is claimed.
    """
    if not comparable(result):
        return [not_comparable(result)]
    metrics = result.described
    routing = [_verdicts(result, info) for info in metrics if info.name in JUDGED + LIVES]
    forecasts = [_forecast(result, info) for info in metrics if info.name.startswith("rmse_db@")]
    sentences = [_in_short(result), *routing, _bound(result), *forecasts, _cost(result)]
    return [sentence for sentence in sentences if sentence]


def _forecasting(result: Comparison) -> set[str]:
    """The arms whose forecasts were scored."""
    summary = result.summary
    return set(summary.loc[summary["metric"].str.startswith("rmse_db@") & (summary["n"] > 0), "arm"])


def _in_short(result: Comparison) -> str:
    """Count the verdicts on delivery, delay and energy, apart for rivals whose forecasts are scored and for the rest."""
    first, others = result.arms[0], result.arms[1:]
    rows = result.differences[result.differences["metric"].isin(JUDGED) & (result.differences["n"] > 1)]
    scored = _forecasting(result)
    groups = {"the others": others}
    if first in scored and len(scored) > 1:
        groups = {
            "the other arms that forecast": [arm for arm in others if arm in scored],
            "the remaining arms": [arm for arm in others if arm not in scored],
        }
    parts = []
    for who, arms in groups.items():
        own = rows[rows["other"].isin(arms)]
        if len(own):
            better, worse, even = tally(own)
            parts.append(f"against {who} it is better in {better}, worse in {worse} and not told apart in {even}")
    return f"In short, of the comparisons of {first} in delivery, delay and energy, {'; '.join(parts)}." if parts else ""


def _verdicts(result: Comparison, info: MetricInfo) -> str:
    """``Delivery ratio of A: better than B (+0.03, 95 % interval +0.01 to +0.05); no difference shown against C (…)``."""
    found = _rivals(result, info, ("better than", "worse than"))
    return f"{info.label.capitalize()} of {result.arms[0]}: {found or 'not comparable'}."


def _bound(result: Comparison) -> str:
    """What the water allows, and how much of it the first arm delivers."""
    means = result.summary.pivot(index="arm", columns="metric", values="mean")
    bounds = sorted(name for name in means.columns if name.startswith("reachable_") and np.isfinite(means[name][result.arms[0]]))
    if not bounds or "delivery_ratio" not in means:
        return ""
    told = []
    for name in bounds:
        hops, _, success = name.removeprefix("reachable_").partition("@")
        told.append(f"{means[name][result.arms[0]]:.3f} ({'upward' if hops == 'up' else 'any'} hops with success {success} or more)")
    delivered = means["delivery_ratio"][result.arms[0]]
    return f"In time, any store-and-forward protocol could have delivered {listed(told)}; {result.arms[0]} delivered {delivered:.3f}."


def _forecast(result: Comparison, info: MetricInfo) -> str:
    """``Forecast RMSE at 3h: A 3.8 dB; smaller than that of B (…); no difference shown against C (…)``."""
    first = result.arms[0]
    found = _rivals(result, info, ("smaller than that of", "larger than that of"))
    if not found:
        return ""
    own = result.summary[(result.summary["arm"] == first) & (result.summary["metric"] == info.name)].iloc[0]
    return f"{info.label[:1].upper()}{info.label[1:]}: {first} {info.text(own['mean'])} {info.unit}; {found}."


def _rivals(result: Comparison, info: MetricInfo, words: tuple[str, str]) -> str:
    """The rivals under each verdict, every one with its difference and interval; empty where nothing can be compared."""
    parts, explained = [], False
    for rows, word in zip(by_verdict(result, info.name).values(), (*words, f"{UNDECIDED} against"), strict=True):
        told = []
        for row in rows:
            told.append(f"{row['other']} ({_signed(row, info, explain=not explained)})")
            explained = True
        if told:
            parts.append(f"{word} {listed(told)}")
    return "; ".join(parts)


def _signed(row: Row, info: MetricInfo, *, explain: bool) -> str:
    """The difference and its interval; only the first of a sentence says what the numbers are."""
    unit = "" if info.unit in {"", "1"} else f" {info.unit}"
    words = "difference {}, 95 % interval {} to {}" if explain else "{}, {} to {}"
    values = [float(row[column]) for column in ("mean", "ci95_low", "ci95_high")]
    tiny = 0.5 * 10.0**-info.digits
    return words.format(*(f"{x:+.2g}" if 0 < abs(x) < tiny else info.text(x, sign=True) for x in values)) + unit


def _cost(result: Comparison) -> str:
    """What the computing takes, as a share of all energy, beside that of the other arms that compute."""
    means = result.summary.pivot(index="arm", columns="metric", values="mean")
    if not {"compute_energy_per_node_j", "energy_per_node_j"} <= set(means.columns):
        return ""
    first = result.arms[0]
    compute_j, total_j = means["compute_energy_per_node_j"], means["energy_per_node_j"]
    if not compute_j[first] > 0 or not np.isfinite(total_j[first]):
        return ""
    rivals = [f"{arm} {compute_j[arm]:.2g} J" for arm in result.arms[1:] if compute_j[arm] > 0]
    beside = f" ({listed(rivals)})" if rivals else ""
    percent = 100 * compute_j[first] / total_j[first]
    share = "less than 0.01" if percent < 0.01 else f"{percent:.2g}"
    return (
        f"Computing takes {first} {compute_j[first]:.2g} J per node and run{beside}; that is {share} % of the {total_j[first]:.4g} J "
        "that a node uses in all, idle included."
    )
