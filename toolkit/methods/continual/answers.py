"""What a comparison of continual learners says, in sentences that its intervals carry."""

from __future__ import annotations

from toolkit.report import Result, ordered_metrics
from toolkit.sentences import LESS, in_short, row_of, verdicts, with_interval

LEARNT = ("class_il", "task_il", "forgetting")
COSTS = ("end_s", "energy_total_j", "memory_nbytes")
WORDS = {"class_il": ("higher than", "lower than"), "task_il": ("higher than", "lower than"), "end_s": ("shorter than", "longer than")}


def continual_answers(result: Result) -> list[str]:
    """Compare the first arm with the others in what is known at the end, what was forgotten, and what it cost."""
    metrics = [info for info in ordered_metrics(result.report, result.view.metrics) if info.name in LEARNT + COSTS]
    if len(result.arms) < 2 or len(result.seeds) < 2:
        sentences = [f"One arm or one seed only: no comparison can be made ({', '.join(result.arms)})."]
        for arm in result.arms:
            rows = {info: row_of(result, arm, info.name) for info in metrics}
            told = ", ".join(f"{info.label} {with_interval(info, row)}" for info, row in rows.items() if row is not None)
            sentences.append(f"{arm}: {told}.")
        return sentences
    sentences = [in_short(result, LEARNT), in_short(result, COSTS)]
    sentences += [verdicts(result, info, WORDS.get(info.name, LESS)) for info in metrics]
    return [sentence for sentence in sentences if sentence]
