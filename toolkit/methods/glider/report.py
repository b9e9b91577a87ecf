"""What a glider's run came to: how good the copy ashore was, when, and for how many joules."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from toolkit.analysis.comparison import Comparison
from toolkit.analysis.findings import comparable, in_short, not_comparable, verdicts
from toolkit.analysis.metric import MetricInfo
from toolkit.analysis.report import Report, Row, Run
from toolkit.analysis.rows import NAN, is_in, named
from toolkit.at_sea.report import REPORT as AT_SEA

GLIDER = 0
JUDGED = ("ashore_mean", "ashore_accuracy", "glider_j", "change_bytes")
GLIDER_METRICS = (
    MetricInfo("ashore_mean", "1", "accuracy ashore, mean over the run", "higher", 4, headline=True, share=True),
    MetricInfo("ashore_accuracy", "1", "accuracy ashore at the end", "higher", 4, headline=True, share=True),
    MetricInfo("own_accuracy", "1", "the glider's own accuracy at its last change", "higher", 4, share=True),
    MetricInfo("glider_j", "J", "energy of the glider", "lower", 1, headline=True),
    MetricInfo("glider_learning_j", "J", "of it: learning, coding, forecasting", "lower", 2),
    MetricInfo("glider_sending_j", "J", "of it: sending", "lower", 1, headline=True),
    MetricInfo("glider_listening_j", "J", "of it: receiving and idling", None, 1),
    MetricInfo("glider_mean_w", "W", "mean power of the board while it learns", None, 3),
    MetricInfo("learnt_h", "h", "time when all is learnt", "lower", 2),
    MetricInfo("changes_sent", "1", "changes sent", None, 1, headline=True),
    MetricInfo("changes_taken", "1", "changes taken up ashore", None, 1),
    MetricInfo("change_bytes", "B", "bytes of content sent", "lower", 0),
    MetricInfo("change_delay_mean_s", "s", "mean time from sending a change to its being acknowledged", "lower", 1),
    MetricInfo("waited_mean_s", "s", "mean wait for a good forecast", None, 1),
)


def summarise(run: Run) -> list[Row]:
    """Return the rows of one run, besides those of the sea."""
    metrics = run.metrics
    ashore = named(metrics, "ashore_accuracy").sort_values(["t_s", "step"], kind="stable")
    at_s, accuracy = ashore["t_s"].to_numpy(float), ashore["value"].to_numpy(float)
    lasts_s = np.diff(np.append(at_s, run.duration_s))
    sent, took = named(metrics, "waited_s")["value"].to_numpy(float), named(metrics, "change_s")["value"].to_numpy(float)
    own, learnt = named(metrics, "test_accuracy")["value"], named(metrics, "learnt_s")["value"]
    charges = run.charges.rows(columns=("node", "kind", "energy_j", "dur_s"))
    mine = charges[(charges["node"] == GLIDER).to_numpy(bool)]
    energy_j = {kind: float(mine.loc[is_in(mine, "kind", *kinds), "energy_j"].sum()) for kind, kinds in (
        ("learning", ("compute", "store")), ("sending", ("tx",)), ("listening", ("rx", "idle")),
    )}
    messages = run.charges.rows("message", columns=("nbytes",))
    end_s = float(learnt.iloc[-1]) if len(learnt) else run.duration_s
    return [
        ("ashore_mean", "1", float(accuracy @ lasts_s / lasts_s.sum()) if len(accuracy) else NAN),
        ("ashore_accuracy", "1", float(accuracy[-1]) if len(accuracy) else NAN),
        ("own_accuracy", "1", float(own.iloc[-1]) if len(own) else NAN),
        ("glider_j", "J", sum(energy_j.values())), *((f"glider_{kind}_j", "J", value) for kind, value in energy_j.items()),
        ("glider_mean_w", "W", energy_j["learning"] / end_s), ("learnt_h", "h", float(learnt.iloc[-1]) / 3600 if len(learnt) else NAN),
        ("changes_sent", "1", float(len(sent))), ("changes_taken", "1", float(max(len(accuracy) - 1, 0))),
        ("change_bytes", "B", float(messages["nbytes"].sum())), ("change_delay_mean_s", "s", float(took.mean()) if len(took) else NAN),
        ("waited_mean_s", "s", float(sent.mean()) if len(sent) else NAN),
    ]


def findings(result: Comparison) -> list[str]:
    """Compare the first arm with the others in what is ashore, and what it cost."""
    if not comparable(result):
        return [not_comparable(result)]
    judged = [info for info in result.described if info.name in JUDGED]
    words = {info.name: ("higher than", "lower than") if info.better == "higher" else ("less than", "more than") for info in judged}
    sentences = [in_short(result, JUDGED), *(verdicts(result, info, words[info.name]) for info in judged)]
    return [sentence for sentence in sentences if sentence]


REPORT = Report(
    metrics=(*GLIDER_METRICS, *(replace(info, headline=False) for info in AT_SEA.metrics)), summarise=summarise, findings=findings,
    extends=AT_SEA, ordered=True,
)
