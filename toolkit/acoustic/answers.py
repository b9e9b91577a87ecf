"""What a comparison at sea says, in sentences that its intervals carry."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from toolkit.acoustic.report import SEA_METRICS
from toolkit.report import Result, describe

JUDGED = ("delivery_ratio", "delay_mean_s", "energy_per_delivered_j")


def sea_answers(result: Result) -> list[str]:
    """Compare the first arm with the others: routing, forecasts, and what the forecasting costs."""
    first, others = result.arms[0], result.arms[1:]
    if not others or len(result.seeds) < 2:
        return [f"One arm or one seed only: no comparison can be made ({', '.join(result.arms)})."] if result.arms else []
    answers = [_in_short(result, first, others), *(_routing(result, first, others, name) for name in JUDGED)]
    return [*answers, *_forecasts(result, first, others), *_cost(result, first)]


def _in_short(result: Result, first: str, others: Sequence[str]) -> str:
    """Count the verdicts of delivery, delay and energy against rivals that predict with something else, and against the rest."""
    rows = result.differences[result.differences["metric"].isin(JUDGED)]
    predicting = set(result.summary.loc[result.summary["metric"].str.startswith("rmse_db@") & (result.summary["n"] > 0), "arm"])
    parts = []
    for who, arms in (
        ("the other predictors under the same protocol", [arm for arm in others if arm in predicting]),
        ("the remaining arms", [arm for arm in others if arm not in predicting]),
    ):
        verdicts = rows.loc[rows["other"].isin(arms), "verdict"]
        if len(verdicts):
            counts = [int((verdicts == verdict).sum()) for verdict in ("better", "worse", "no difference shown")]
            parts.append(f"against {who} it is better in {counts[0]}, worse in {counts[1]} and not told apart in {counts[2]}")
    return f"In short, of the comparisons of {first} in delivery, delay and energy, {'; '.join(parts)}."


def _routing(result: Result, first: str, others: Sequence[str], name: str) -> str:
    """``Delivery ratio of A: better than B (+0.03, 95 % 0.01 to 0.05); worse than …; no difference shown against …``."""
    info = describe(name, SEA_METRICS)
    rows = result.differences[result.differences["metric"] == name].set_index("other")
    parts = []
    for verdict in ("better", "worse"):
        named = [
            f"{other} ({_signed(row)} {info.unit})" if info.unit != "1" else f"{other} ({_signed(row)})"
            for other, row in rows[rows["verdict"] == verdict].iterrows()
        ]
        if named:
            parts.append(f"{verdict} than {', '.join(named)}")
    even = [other for other in others if other in rows.index and rows.loc[other, "verdict"] == "no difference shown"]
    if even:
        parts.append(f"no difference shown against {', '.join(even)}")
    return f"{info.label.capitalize()} of {first}: {'; '.join(parts) if parts else 'not comparable'}."


def _signed(row: pd.Series) -> str:
    return f"{row['mean']:+.3g}, 95 % interval {row['ci95_low']:+.3g} to {row['ci95_high']:+.3g}"


def _forecasts(result: Result, first: str, others: Sequence[str]) -> list[str]:
    """How the first arm's forecast errors compare, horizon by horizon."""
    summary = result.summary[result.summary["metric"].str.startswith("rmse_db@") & (result.summary["n"] > 0)]
    own = summary[summary["arm"] == first]
    rivals = [arm for arm in others if arm in set(summary["arm"])]
    if own.empty or not rivals:
        return []
    sentences = []
    for row in own.itertuples():
        same = summary[(summary["metric"] == row.metric) & (summary["arm"].isin(rivals))]
        texts = []
        for other in same.itertuples():
            gap = result.differences[(result.differences["metric"] == row.metric) & (result.differences["other"] == other.arm)]
            verdict = "" if gap.empty else {"better": ", worse than ours", "worse": ", better than ours"}.get(gap["verdict"].iloc[0], "")
            texts.append(f"{other.arm} {other.mean:.2f}{verdict.replace('ours', first)}")
        sentences.append(f"Forecast RMSE {str(row.metric).partition('@')[2]} ahead: {first} {row.mean:.2f} dB; {'; '.join(texts)}.")
    return sentences


def _cost(result: Result, first: str) -> list[str]:
    """What the computing takes, as a share of the energy above idle."""
    summary = result.summary[result.summary["arm"] == first].set_index("metric")["mean"]
    compute_j = float(summary.get("compute_energy_per_node_j", float("nan")))
    total_j = float(summary.get("energy_per_node_j", float("nan")))
    if not compute_j > 0:
        return []
    return [f"Predicting costs {first} {compute_j:.3g} J of computing per node, of {total_j:.4g} J that a node uses in all."]
