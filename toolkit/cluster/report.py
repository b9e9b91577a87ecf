"""What any run over a cluster cost: time, bytes by sender, energy, links and crashes.

Every number is a groupby of the run's ledger (rows of `Charge`) and its observations (rows of `Metric`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from toolkit.analysis.comparison import Comparison
from toolkit.analysis.costs import BYTES_TOTAL, END_S, ENERGY, FLOPS, end_of, energy_rows, flops_row
from toolkit.analysis.findings import comparable, in_short, not_comparable, row_of, verdicts, with_interval
from toolkit.analysis.metric import MetricInfo, describe
from toolkit.analysis.report import Report, Row, Run
from toolkit.analysis.rows import is_in, named
from toolkit.core.words import counted, listed

NETWORK_METRICS = (
    END_S,
    MetricInfo("bytes_busiest_worker", "B", "bytes sent by the busiest worker", "lower", 0, headline=True),
    MetricInfo("bytes_busiest_server", "B", "bytes sent by the busiest server", "lower", 0),
    BYTES_TOTAL,
    *ENERGY,
    MetricInfo("busiest_link_utilisation", "1", "utilisation of the busiest link", None, 3, share=True),
    MetricInfo("workers", "1", "workers at the start", None, 0),
    MetricInfo("downtime_s", "s", "time from crash to going on", "lower", 2, absent=0.0),
)
JUDGED = ("end_s", "bytes_busiest_worker", "energy_total_j")


def workers_of(run: Run) -> int:
    """Return the number of workers at the start; nodes below it are workers, those above are servers."""
    from toolkit.cluster.fabric import Cluster  # with simpy, which nobody needs who only reads a report

    assert isinstance(run.fabric, Cluster)
    return run.fabric.workers


def network_rows(ledger: pd.DataFrame, metrics: pd.DataFrame, workers: int) -> list[Row]:
    """Return (metric, unit, value) rows of one run; nodes below *workers* are workers, those above are servers."""
    end_s = end_of(ledger, metrics)
    rows: list[Row] = [("workers", "1", float(workers)), ("end_s", "s", end_s)]
    rows += [*_sent(ledger, workers), *energy_rows(ledger), *_failures(metrics, end_s)]
    used = named(metrics, "link_utilisation")
    return [*rows, ("busiest_link_utilisation", "1", float(used["value"].max()))] if len(used) else rows


def _sent(ledger: pd.DataFrame, workers: int) -> list[Row]:
    """Payload bytes by sender."""
    sent = ledger[is_in(ledger, "kind", "tx")]
    by_node = np.bincount(sent["node"].to_numpy(np.int64), weights=sent["nbytes"].to_numpy(float))
    rows = [("bytes_busiest_worker", "B", float(by_node[:workers].max(initial=0.0)))]
    if len(by_node) > workers:
        rows.append(("bytes_busiest_server", "B", float(by_node[workers:].max())))
    return [*rows, ("bytes_total", "B", float(by_node.sum()))]


def _failures(metrics: pd.DataFrame, end_s: float) -> list[Row]:
    """How long the others stood still after crashes: from each until the next recovery, what overlaps counted once."""
    crashes = np.sort(named(metrics, "crash")["t_s"].to_numpy(float))
    back = np.sort(named(metrics, "recovered")["t_s"].to_numpy(float))
    if not len(crashes):
        return []
    down_s, until_s = 0.0, 0.0
    for crash_s in crashes:
        after = back[back >= crash_s]
        upto_s = float(after[0]) if len(after) else end_s
        down_s += max(0.0, upto_s - max(float(crash_s), until_s))
        until_s = max(until_s, upto_s)
    return [("downtime_s", "s", down_s)]


def network_findings(result: Comparison) -> list[str]:
    """Compare the first arm with the others in seconds, bytes and joules."""
    judged = [info for info in result.described if info.name in JUDGED]
    if comparable(result):
        sentences = [in_short(result, JUDGED), *(verdicts(result, info) for info in judged), downtime(result), late_crashes(result)]
    else:
        sentences = [not_comparable(result), came_to(result, JUDGED), downtime(result), late_crashes(result)]
    return [sentence for sentence in sentences if sentence]


def came_to(result: Comparison, metrics: tuple[str, ...]) -> str:
    """What the first arm came to by itself."""
    rows = {name: row_of(result, result.arms[0], name) for name in metrics}
    infos = {name: describe(name, result.infos) for name in metrics}
    parts = [f"{infos[name].label} {with_interval(infos[name], row)}" for name, row in rows.items() if row is not None]
    return f"{result.arms[0]}: {', '.join(parts)}." if parts else ""


def downtime(result: Comparison) -> str:
    """How long work stood still after crashes, where there were any."""
    info = describe("downtime_s", result.infos)
    found = {arm: row for arm in result.arms if (row := row_of(result, arm, info.name)) is not None and row["mean"] > 0}
    if not found:
        return ""
    return f"After crashes work stood still for {listed([f'{with_interval(info, row)} ({arm})' for arm, row in found.items()])}."


def late_crashes(result: Comparison) -> str:
    """Name the crashes that a run had ended before: nothing crashed, and its arm is the arm without them."""
    path = result.directory / "scenario.yaml"
    if not path.is_file() or "at_s:" not in path.read_text(encoding="utf-8"):  # every crash has one; spares most runs the reading
        return ""
    report, metrics = result.report, result.metrics
    crashed = metrics[metrics["name"] == "crash"]
    happened = set(zip(crashed["arm"], crashed["seed"], crashed["who"], strict=True))
    parts = []
    for arm, scenario in result.scenario.arms().items():
        ends = report[(report["arm"] == arm) & (report["metric"] == "end_s")]
        failures = getattr(scenario.fabric, "failures", None)
        for crash in failures.crashes if failures else []:
            late = ends[[(arm, seed, crash.node) not in happened for seed in ends["seed"]]]
            if not len(late):
                continue
            seeds = f" in {len(late)} of {counted(len(ends), 'seed')}" if len(late) < len(ends) else ""
            times = " to ".join(dict.fromkeys(f"{end_s:.3g}" for end_s in (late["value"].min(), late["value"].max())))
            parts.append(f"{crash.node} at {crash.at_s:.3g} s in {arm}{seeds} (the run ended at {times} s)")
    if not parts:
        return ""
    return f"Crashes after the end of a run did nothing, and such an arm shows no crash: {listed(parts)}."


NETWORK = Report(
    metrics=NETWORK_METRICS, summarise=lambda run: network_rows(run.ledger, run.metrics, workers_of(run)), findings=network_findings,
)
"""For reports of programs on a cluster to extend."""
REPORT = Report(metrics=(FLOPS,), summarise=lambda run: [flops_row(run.ledger)], extends=NETWORK)
"""For programs that have no report of their own."""
