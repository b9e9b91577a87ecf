"""What a program that learns over the sea came to: what was learnt, when, for how many joules and bytes on the air, and what was late.

Every number is a groupby of the run's ledger and its observations. The sea's own rows (`toolkit.acoustic.report`) come after them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from toolkit.acoustic.report import REPORT as SEA
from toolkit.analysis.comparison import Comparison
from toolkit.analysis.findings import comparable, in_short, not_comparable, verdicts
from toolkit.analysis.metric import MetricInfo
from toolkit.analysis.report import Report, Row, Run
from toolkit.analysis.rows import NAN, is_in, named, ratio

Floats = NDArray[np.float64]
SPENDING = ("t0_s", "dur_s", "node", "kind", "nbytes", "energy_j")
"""Columns of the ledger that `spent_until` needs."""
JUDGED = ("final_accuracy", "air_bytes_per_node", "energy_per_node_j", "counted_share")

LEARNING_METRICS = (
    MetricInfo("final_accuracy", "1", "final test accuracy", "higher", 4, headline=True, share=True),
    MetricInfo("final_loss", "1", "final test loss", "lower", 4),
    MetricInfo("steps_done", "1", "steps done by the first worker", None, 1),
    MetricInfo("hours_to_accuracy@*", "h", "hours to accuracy {}", "lower", 2, headline=True),
    MetricInfo("joules_to_accuracy@*", "J", "joules per node to accuracy {}", "lower", 1, headline=True),
    MetricInfo("bytes_to_accuracy@*", "B", "bytes per node to accuracy {}", "lower", 0, headline=True),
    MetricInfo("air_bytes_per_node", "B", "bytes on the air per node", "lower", 0, headline=True),
    MetricInfo("air_share_data", "1", "of these: content and its headers", None, 3, share=True),
    MetricInfo("air_share_receipts", "1", "of these: receipts end to end", None, 3, share=True),
    MetricInfo("air_share_control", "1", "of these: acknowledgements of hops, beacons and the like", None, 3, share=True),
    MetricInfo("counted_share", "1", "share of updates that came in time", "higher", 3, share=True),
    MetricInfo("late_updates", "1", "updates that came too late", None, 1, absent=0.0),
    MetricInfo("lost_updates", "1", "updates given up or torn", None, 1, absent=0.0),
    MetricInfo("message_delivery_ratio", "1", "messages that came whole", None, 3, share=True),
    MetricInfo("message_delay_mean_s", "s", "mean delay of a whole message", None, 1),
)


def summarise(run: Run) -> list[Row]:
    """Return the rows of one run, besides those of the sea."""
    from toolkit.acoustic.fabric import Acoustic  # with numba and simpy, which nobody needs who only reads a report

    assert isinstance(run.fabric, Acoustic)
    nodes = run.fabric.layout.node_count
    return [*_learnt(run, nodes), *_on_the_air(run.charges.totals, nodes), *_updates(run.metrics), *_messages(run)]


def spent_until(ledger: pd.DataFrame, at_s: Floats, nodes: int) -> tuple[Floats, Floats]:
    """Return the bytes on the air of all nodes and sinks, and the energy in J of the *nodes* alone, from the start until each of *at_s*.

    A charge counts from its end on. Idle energy is one row per node over its whole life, and spread evenly over that.
    """
    kind, node = ledger["kind"], ledger["node"].to_numpy(np.int64)
    ends_s = (ledger["t0_s"] + ledger["dur_s"]).to_numpy(float)
    idle = kind.isin(["idle"]).to_numpy(bool)
    sent = kind.isin(["tx"]).to_numpy(bool)
    costs = kind.isin(["tx", "rx", "compute", "store"]).to_numpy(bool) & (node < nodes)
    nbytes = _until(ends_s[sent], ledger["nbytes"].to_numpy(float)[sent], at_s)
    energy_j = _until(ends_s[costs], ledger["energy_j"].to_numpy(float)[costs], at_s)
    last_s = max(float(ends_s.max(initial=0.0)), float(at_s.max(initial=0.0)))
    share = np.minimum(at_s / last_s, 1.0) if last_s else np.zeros(len(at_s))
    return nbytes, energy_j + share * float(ledger["energy_j"].to_numpy(float)[idle & (node < nodes)].sum())


def _until(ends_s: Floats, values: Floats, at_s: Floats) -> Floats:
    order = np.argsort(ends_s, kind="stable")
    sums = np.concatenate([[0.0], np.cumsum(values[order])])
    found: Floats = sums[np.searchsorted(ends_s[order], at_s, side="right")]
    return found


def _learnt(run: Run, nodes: int) -> list[Row]:
    """The last accuracy and loss, the steps that were done, and the first reaching of each target."""
    metrics = run.metrics
    rows: list[Row] = []
    for name, row in (("test_accuracy", "final_accuracy"), ("test_loss", "final_loss")):
        values = named(metrics, name).sort_values(["t_s", "step"], kind="stable")["value"]
        if len(values):
            rows.append((row, "1", float(values.iloc[-1])))
    done = metrics["step"].to_numpy(np.int64)[is_in(metrics, "name", "train_loss", "test_accuracy")]
    if len(done):
        rows.append(("steps_done", "1", float(done.max())))
    accuracy = named(metrics, "test_accuracy")
    for target in np.unique(named(metrics, "target")["value"].to_numpy(float)):
        at_s = accuracy.loc[(accuracy["value"] >= target).to_numpy(bool), "t_s"].min()
        nbytes = energy_j = NAN
        if np.isfinite(at_s):
            sent, spent_j = spent_until(run.charges.rows(columns=SPENDING), np.array([at_s], float), nodes)
            nbytes, energy_j = float(sent[0]) / nodes, float(spent_j[0]) / nodes
        rows += [
            (f"hours_to_accuracy@{target:g}", "h", float(at_s) / 3600.0), (f"joules_to_accuracy@{target:g}", "J", energy_j),
            (f"bytes_to_accuracy@{target:g}", "B", nbytes),
        ]
    return rows


def _on_the_air(totals: pd.DataFrame, nodes: int) -> list[Row]:
    """What all modems sent, sinks included, over the number of nodes; and what it was."""
    sent = totals[is_in(totals, "kind", "tx")]
    nbytes = sent["nbytes"].to_numpy(float)
    data, receipts = is_in(sent, "phase", "data"), is_in(sent, "phase", "receipt")
    parts = {"data": data, "receipts": receipts, "control": ~data & ~receipts}
    return [
        ("air_bytes_per_node", "B", float(nbytes.sum()) / nodes),
        *((f"air_share_{name}", "1", ratio(nbytes[rows].sum(), nbytes.sum())) for name, rows in parts.items()),
    ]


def _updates(metrics: pd.DataFrame) -> list[Row]:
    """How many of the vectors that a hub waited for were in its sums."""
    counted, missing = (float(named(metrics, f"{name}_updates")["value"].sum()) for name in ("counted", "missing"))
    if not counted + missing:
        return []
    thrown = [(f"{name}_updates", "1", float(named(metrics, f"{name}_updates")["value"].sum())) for name in ("late", "lost")]
    return [("counted_share", "1", ratio(counted, counted + missing)), *thrown]


def _messages(run: Run) -> list[Row]:
    messages = run.charges.rows("message", columns=("dur_s", "outcome"))
    if not len(messages):
        return []
    whole = is_in(messages, "outcome", "delivered")
    delay_s = messages["dur_s"].to_numpy(float)[whole]
    return [
        ("message_delivery_ratio", "1", ratio(whole.sum(), len(messages))),
        ("message_delay_mean_s", "s", float(delay_s.mean()) if len(delay_s) else NAN),
    ]


def findings(result: Comparison) -> list[str]:
    """Compare the first arm with the others in what was learnt, and in bytes and joules."""
    if not comparable(result):
        return [not_comparable(result)]
    judged = [info for info in result.described if info.name in JUDGED or info.name.startswith("hours_to_accuracy@")]
    sentences = [in_short(result, JUDGED), *(verdicts(result, info, WORDS.get(info.name, ("less than", "more than"))) for info in judged)]
    return [sentence for sentence in sentences if sentence]


WORDS = {"final_accuracy": ("higher than", "lower than"), "counted_share": ("higher than", "lower than")}
REPORT = Report(
    metrics=(*LEARNING_METRICS, *(replace(info, headline=False) for info in SEA.metrics)), summarise=summarise, findings=findings,
    extends=SEA, ordered=True,
)
