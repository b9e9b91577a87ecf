"""What one pruning came to, as rows of the report."""

from __future__ import annotations

import numpy as np
import pandas as pd

from toolkit.analysis.metric import MetricInfo
from toolkit.analysis.report import Report, Row
from toolkit.analysis.rows import NAN, named
from toolkit.methods.pruning.findings import pruning_findings

PRUNING_METRICS: tuple[MetricInfo, ...] = (
    MetricInfo("dense_error", "1", "test error, dense", None, 4, share=True),
    MetricInfo("error_before", "1", "test error before fine-tuning", "lower", 4, share=True),
    MetricInfo("error_after", "1", "test error", "lower", 4, headline=True, share=True),
    MetricInfo("lost_points", "%", "accuracy points lost", "lower", 2, headline=True),
    MetricInfo("removed", "1", "parameters removed", "higher", 4, headline=True, share=True),
    MetricInfo("conv_factor", "1", "convolution MACs ÷", "higher", 2, headline=True),
    MetricInfo("macs_factor", "1", "all MACs ÷", "higher", 2),
    MetricInfo("params", "1", "parameters left", "lower", 0),
    MetricInfo("conv_macs", "1", "MACs of convolutions", "lower", 0),
    MetricInfo("macs", "1", "MACs", "lower", 0),
    MetricInfo("kept@*", "1", "units left: {}", None, 1),
    MetricInfo("scratch_error", "1", "test error, trained from scratch", None, 4, share=True),
    MetricInfo("better_than_scratch_points", "%", "points above from scratch", "higher", 2, headline=True),
    MetricInfo("fitness@*", "1", "best F of round {}", "lower", 3),
    MetricInfo("hypervolume@*", "1", "hypervolume of round {}", "higher", 4),
    MetricInfo("evals", "1", "masks evaluated", None, 0),
    MetricInfo("rounds", "1", "rounds", None, 1),
    MetricInfo("search_s", "s", "time of the searches", "lower", 3, headline=True),
    MetricInfo("idle_fraction", "1", "idle share of workers while searching", "lower", 4, headline=True, share=True),
    MetricInfo("distribute_s", "s", "time of sending weights before searches", None, 3),
    MetricInfo("evaluations_per_s", "1/s", "evaluations per second", "higher", 2),
    MetricInfo("bytes_masks", "B", "bytes of masks and answers", None, 0),
    MetricInfo("bytes_weights", "B", "bytes of weights", None, 0),
    MetricInfo("energy_total_j", "J", "energy in all", "lower", 3),
    MetricInfo("end_s", "s", "time to the end", "lower", 3),
    MetricInfo("latency_factor@*", "1", "latency ÷, {}", None, 2),
    MetricInfo("energy_factor@*", "1", "energy of an inference ÷, {}", None, 2),
    MetricInfo("memory_factor@*", "1", "peak memory ÷, {}", None, 2),
    MetricInfo("measured_latency_ms@*", "ms", "measured here: {}", None, 3),
    MetricInfo("measured_factor@*", "1", "measured latency ÷, batch {}", None, 2),
    MetricInfo("cpu_s", "s", "CPU time here", None, 1),
)
PLAIN = (
    "dense_error", "error_before", "error_after", "lost_points", "removed", "conv_factor", "macs_factor", "params", "conv_macs", "macs",
    "scratch_error", "better_than_scratch_points", "evals", "rounds", "cpu_s", "end_s",
)
UNITS = {info.name: info.unit for info in PRUNING_METRICS}


def summarise_run(ledger: pd.DataFrame, metrics: pd.DataFrame) -> list[Row]:
    """Return (metric, unit, value) rows of one run."""
    rows: list[Row] = [
        (name, UNITS[name], float(found.iloc[-1])) for name in PLAIN if len(found := named(metrics, name)["value"])
    ]
    for name in ("fitness", "hypervolume"):
        rows += [(f"{name}@{int(str(row.step)) + 1}", "1", float(str(row.value))) for row in named(metrics, name).itertuples()]
    rows += [(f"kept@{row.who}", "1", float(str(row.value))) for row in named(metrics, "kept").itertuples()]
    return rows + _search(ledger, metrics) + _sent(ledger) + _devices(metrics) + _measured(metrics)


def windows(metrics: pd.DataFrame) -> list[tuple[float, float]]:
    """Return begin and end in s of every search."""
    begins, ends = (named(metrics, name)["t_s"].to_numpy(float) for name in ("search_begin_s", "search_end_s"))
    return list(zip(begins.tolist(), ends.tolist(), strict=True))


def idle_fraction(ledger: pd.DataFrame, metrics: pd.DataFrame) -> float:
    """Return the mean share of the searches' time in which a worker did not evaluate; NaN where rank 0 works alone.

    A search begins when every worker has the weights; sending them is told apart (`distribute_s`).
    A worker that is lost counts until the others know of it. Those that evaluate are all nodes but rank 0, or, where rank 0 evaluates too
    (islands), all.
    """
    spans = windows(metrics)
    work = ledger[(ledger["kind"] == "compute").to_numpy(bool) & (ledger["phase"] == "evaluate").to_numpy(bool)]
    nodes = sorted(int(node) for node in work["node"].unique())
    everybody = sorted(int(node) for node in ledger.loc[(ledger["kind"] == "idle").to_numpy(bool), "node"].unique() if node >= 0)
    if len(everybody) < 2 or not spans or not nodes:
        return NAN
    counted = everybody if 0 in nodes else [node for node in everybody if node]
    crashed = {int("".join(filter(str.isdigit, str(row.who)))): float(str(row.t_s)) for row in named(metrics, "crash").itertuples()}
    shares = []
    for node in counted:
        own = work[work["node"] == node]
        begin, end = own["t0_s"].to_numpy(float), (own["t0_s"] + own["dur_s"]).to_numpy(float)
        there_s = busy_s = 0.0
        for start_s, stop_s in spans:
            stop = min(stop_s, crashed.get(node, stop_s))
            there_s += max(0.0, stop - start_s)
            busy_s += float(np.clip(np.minimum(end, stop) - np.maximum(begin, start_s), 0.0, None).sum())
        if there_s:
            shares.append(1 - busy_s / there_s)
    return float(np.mean(shares)) if shares else NAN


def _search(ledger: pd.DataFrame, metrics: pd.DataFrame) -> list[Row]:
    search_s = sum(end - begin for begin, end in windows(metrics))
    rows: list[Row] = [("search_s", "s", search_s)]
    distributing = named(metrics, "distribute_s")["value"]
    if len(distributing):
        rows.append(("distribute_s", "s", float(distributing.sum())))
    count = float(named(metrics, "evaluations")["value"].sum())
    if search_s and count:
        rows.append(("evaluations_per_s", "1/s", count / search_s))
    idle = idle_fraction(ledger, metrics)
    return [*rows, ("idle_fraction", "1", idle)] if np.isfinite(idle) else rows


def _sent(ledger: pd.DataFrame) -> list[Row]:
    sent = ledger[(ledger["kind"] == "tx").to_numpy(bool)]
    rows: list[Row] = [("energy_total_j", "J", float(ledger["energy_j"].sum()))]
    if len(sent):
        heavy = (sent["phase"] == "weights").to_numpy(bool)
        rows += [("bytes_masks", "B", float(sent["nbytes"][~heavy].sum())), ("bytes_weights", "B", float(sent["nbytes"][heavy].sum()))]
    return rows


def _devices(metrics: pd.DataFrame) -> list[Row]:
    """How many times faster, thriftier and smaller an inference becomes on every device."""
    rows: list[Row] = []
    for source, name in (("device_latency_s", "latency_factor"), ("device_energy_j", "energy_factor"),
                         ("device_memory_bytes", "memory_factor")):
        found = _by_who(metrics, source)
        for who, dense in found.items():
            which, device, batch = who.split(" ")
            if which == "dense":
                rows.append((f"{name}@{device}_B{batch}", "1", dense / found[f"pruned {device} {batch}"]))
    return rows


def _measured(metrics: pd.DataFrame) -> list[Row]:
    found = _by_who(metrics, "measured_latency_s")
    rows: list[Row] = [(f"measured_latency_ms@{who.replace(' ', '_B')}", "ms", 1e3 * value) for who, value in found.items()]
    for who, dense in found.items():
        which, batch = who.split(" ")
        if which == "dense":
            rows.append((f"measured_factor@{batch}", "1", dense / found[f"pruned {batch}"]))
    return rows


def _by_who(metrics: pd.DataFrame, name: str) -> dict[str, float]:
    found = named(metrics, name)
    return {str(who): float(value) for who, value in zip(found["who"], found["value"], strict=True)}


REPORT = Report(metrics=PRUNING_METRICS, summarise=lambda run: summarise_run(run.ledger, run.metrics), findings=pruning_findings)
