"""What a comparison of federations says, in sentences that its intervals carry."""

from __future__ import annotations

from toolkit.analysis.comparison import Comparison
from toolkit.analysis.findings import LESS, comparable, in_short, not_comparable, row_of, value_of, verdicts
from toolkit.analysis.metric import describe
from toolkit.cluster.report import came_to
from toolkit.methods.distributed.findings import reached, target_told

JUDGED = ("final_accuracy", "trained_s", "bytes_total", "energy_asked_j")
WORDS = {"final_accuracy": ("higher than", "lower than"), "trained_s": ("shorter than", "longer than")}


def federated_findings(result: Comparison) -> list[str]:
    """Compare the first arm with the others in accuracy, seconds, bytes and joules, and say what became of its errands."""
    targets = [info for info in result.described if info.name.startswith("time_to_accuracy@")]
    if comparable(result):
        sentences = [in_short(result, JUDGED), *(target_told(result, info) for info in targets)]
        sentences += [verdicts(result, info, WORDS.get(info.name, LESS)) for info in result.described if info.name in JUDGED]
    else:
        sentences = [not_comparable(result), came_to(result, JUDGED), *(reached(result, info) for info in targets)]
    return [sentence for sentence in [*sentences, _errands(result)] if sentence]


def _errands(result: Comparison) -> str:
    """What became of the first arm's errands, and how stale its updates were, means over seeds."""
    first = result.arms[0]
    names = ("sent_out", "aggregated", "dropped@late", "dropped@spare", "dropped@left", "under_way", "staleness_mean", "staleness_max")
    rows = {name: row_of(result, first, name) for name in names}
    told = {name: value_of(describe(name, result.infos), float(row["mean"])) for name, row in rows.items() if row is not None}
    if not {*names[:6]} <= set(told):
        return ""
    sentence = (
        f"Of {told['sent_out']} errands of {first}, {told['aggregated']} ended in the model, {told['dropped@late']} after the deadline, "
        f"{told['dropped@spare']} after enough others, {told['dropped@left']} with the client gone, and {told['under_way']} were under way "
        "at the end"
    )
    if "staleness_mean" in told:
        sentence += f"; an update was {told['staleness_mean']} versions old on average and {told['staleness_max']} at most"
    return sentence + "."
