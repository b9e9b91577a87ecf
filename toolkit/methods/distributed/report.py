"""What one run of data-parallel training came to: what was learnt, how fast, and where the workers' time went."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from toolkit.analysis.costs import end_of, spent_until
from toolkit.analysis.metric import MetricInfo
from toolkit.analysis.report import Report, Row
from toolkit.analysis.rows import NAN, is_in, named, ratio
from toolkit.cluster.report import NETWORK, workers_of
from toolkit.methods.distributed.findings import distributed_findings

LEARNT = {"test_accuracy": "final_accuracy", "test_loss": "final_loss"}
KNOWN = {*LEARNT, "train_loss", "target", "link_utilisation", "end_s", "crash", "recovered"}
"""Observations that have their own rows in the report; what else a method records is averaged over its run."""

_NETWORK = {info.name: info for info in NETWORK.infos}
DISTRIBUTED_METRICS = (
    MetricInfo("final_accuracy", "1", "final test accuracy", "higher", 4, headline=True, share=True),
    MetricInfo("final_loss", "1", "final test loss", "lower", 4),
    _NETWORK["end_s"],
    MetricInfo("s_per_step", "s", "time per step", "lower", 5),
    MetricInfo("gradients_per_s", "1/s", "gradients per second, all workers", "higher", 2),
    *(info for name, info in _NETWORK.items() if name.startswith(("bytes_", "energy_"))),
    MetricInfo("time_to_accuracy@*", "s", "time to accuracy {}", "lower", 4, headline=True),
    MetricInfo("bytes_to_accuracy@*", "B", "bytes sent per worker to accuracy {}", "lower", 0),
    MetricInfo("energy_to_accuracy@*", "J", "energy to accuracy {}", "lower", 3),
    MetricInfo("local_s", "s", "local time per worker", "lower", 4),
    MetricInfo("wire_s", "s", "wire time per worker, waiting included", "lower", 4),
    MetricInfo("share_computing", "1", "share of time: gradients", None, 3, share=True),
    MetricInfo("share_compressing", "1", "share of time: compressing", None, 3, share=True),
    MetricInfo("share_merging", "1", "share of time: adding and merging what arrived", None, 3, share=True),
    MetricInfo("share_wire", "1", "share of time: wire, waiting included", None, 3, share=True),
)


def training_rows(ledger: pd.DataFrame, metrics: pd.DataFrame, workers: int) -> list[Row]:
    """Return (metric, unit, value) rows of one run, besides what machines and links did.

    A run that learns nothing has no rows of accuracy and loss. A target accuracy that the run never reached gives NaN. Bytes "per
    worker" are those of all nodes, servers included, over the number of workers, so that a server's share is not got for nothing.
    A worker that crashed is counted until then.

    Departures: the wire time of the gs-SGD notes (2.1) is the time that is neither gradient nor compression. Here what the
    workers compute *between* messages (adding, merging) is told apart from it too, since it is local time as well; under ideal
    pricing the closed form holds it, and it stays in the wire time.
    """
    end_s = end_of(ledger, metrics)
    rows = [*learnt_rows(metrics), *_pace(ledger, metrics, end_s), *target_rows(ledger, metrics, workers)]
    rows += _shares(ledger, metrics, workers, end_s)
    others = metrics[~is_in(metrics, "name", *KNOWN)]
    means = others.groupby("name", observed=True)["value"].mean()
    return rows + [(str(name), "1", float(mean)) for name, mean in means.items()]


def node_of(name: str) -> int:
    """Number of the worker that is called ``worker3``, or ``3``; -1 for other names."""
    found = re.fullmatch(r"(?:worker)?(\d+)", name)
    return int(found[1]) if found else -1


def learnt_rows(metrics: pd.DataFrame) -> list[Row]:
    """The last accuracy and loss on the test data."""
    found = {row: named(metrics, name).sort_values("t_s", kind="stable")["value"] for name, row in LEARNT.items()}
    return [(row, "1", float(values.iloc[-1])) for row, values in found.items() if len(values)]


def _pace(ledger: pd.DataFrame, metrics: pd.DataFrame, end_s: float) -> list[Row]:
    """How long one step took, and how many gradients all workers took per second."""
    rows: list[Row] = []
    steps = int(metrics["step"].to_numpy(np.int64)[is_in(metrics, "name", "train_loss")].max(initial=0))
    gradients = int((is_in(ledger, "kind", "compute") & is_in(ledger, "phase", "gradient")).sum())
    if steps:
        rows.append(("s_per_step", "s", end_s / steps))
    if gradients:
        rows.append(("gradients_per_s", "1/s", ratio(gradients, end_s)))
    return rows


def target_rows(ledger: pd.DataFrame, metrics: pd.DataFrame, workers: int) -> list[Row]:
    """Time, bytes per worker and energy at the first evaluation that reached each target."""
    targets = np.unique(named(metrics, "target")["value"].to_numpy(float))
    reached = named(metrics, "test_accuracy").sort_values("t_s", kind="stable")
    at_s = np.array([reached.loc[reached["value"].to_numpy(float) >= target, "t_s"].min() for target in targets], float)
    sent, energy_j = np.full(len(targets), NAN), np.full(len(targets), NAN)
    there = np.isfinite(at_s)
    sent[there], energy_j[there] = spent_until(ledger, at_s[there])
    rows: list[Row] = []
    for target, t_s, nbytes, joules in zip(targets, at_s, sent, energy_j, strict=True):
        rows += [
            (f"time_to_accuracy@{target:g}", "s", float(t_s)),
            (f"bytes_to_accuracy@{target:g}", "B", float(nbytes) / workers),
            (f"energy_to_accuracy@{target:g}", "J", float(joules)),
        ]
    return rows


def _shares(ledger: pd.DataFrame, metrics: pd.DataFrame, workers: int, end_s: float) -> list[Row]:
    """Where the time of the mean worker went; the four shares add up to 1."""
    life_s = np.full(workers, end_s)
    for row in named(metrics, "crash").itertuples():
        node = node_of(str(row.who))
        if 0 <= node < workers:
            life_s[node] = min(life_s[node], float(str(row.t_s)))
    computed = ledger[is_in(ledger, "kind", "compute") & (ledger["node"].to_numpy(np.int64) < workers)]
    until_s = life_s[computed["node"].to_numpy(np.int64)]
    done_s = np.clip(until_s - computed["t0_s"].to_numpy(float), 0.0, computed["dur_s"].to_numpy(float))
    gradient, compress = is_in(computed, "phase", "gradient"), is_in(computed, "phase", "compress")
    total_s = float(life_s.sum())
    parts_s = [float(done_s[rows].sum()) for rows in (gradient, compress, ~gradient & ~compress)]
    wire_s = max(0.0, total_s - sum(parts_s))
    names = ("share_computing", "share_compressing", "share_merging", "share_wire")
    return [
        ("local_s", "s", sum(parts_s) / workers),
        ("wire_s", "s", wire_s / workers),
        *((name, "1", ratio(part_s, total_s)) for name, part_s in zip(names, (*parts_s, wire_s), strict=True)),
    ]


REPORT = Report(
    metrics=DISTRIBUTED_METRICS, summarise=lambda run: training_rows(run.ledger, run.metrics, workers_of(run)),
    findings=distributed_findings, extends=NETWORK, ordered=True,
)
