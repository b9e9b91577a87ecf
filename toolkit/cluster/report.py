"""What one run of a cluster came to: what was learnt, and what it cost in seconds, bytes and joules.

Every number is a groupby of the run's ledger (rows of `Charge`) and its observations (rows of `Metric`).
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from toolkit.report import MetricInfo

Row = tuple[str, str, float]
Floats = NDArray[np.float64]
NAN = float("nan")
TINY_S = 1e-15
LEARNT = {"test_accuracy": "final_accuracy", "test_loss": "final_loss"}
KNOWN = {*LEARNT, "train_loss", "target", "link_utilisation", "end_s", "crash", "recovered"}
"""Observations that have their own rows in the report; what else a method records is averaged over its run."""

CLUSTER_METRICS: list[MetricInfo] = [
    MetricInfo("final_accuracy", "1", "final test accuracy", "higher", 4, headline=True),
    MetricInfo("final_loss", "1", "final test loss", "lower", 4),
    MetricInfo("end_s", "s", "time to the end", "lower", 4, headline=True),
    MetricInfo("s_per_step", "s", "time per step", "lower", 5),
    MetricInfo("gradients_per_s", "1/s", "gradients per second, all workers", "higher", 2),
    MetricInfo("bytes_busiest_worker", "B", "bytes sent by the busiest worker", "lower", 0, headline=True),
    MetricInfo("bytes_busiest_server", "B", "bytes sent by the busiest server", "lower", 0),
    MetricInfo("bytes_total", "B", "bytes sent in all", "lower", 0),
    MetricInfo("energy_total_j", "J", "energy in all", "lower", 3, headline=True),
    MetricInfo("energy_computing_j", "J", "energy of computing", None, 3),
    MetricInfo("energy_storage_j", "J", "energy of storage", None, 3),
    MetricInfo("energy_links_j", "J", "energy of links and interfaces", None, 3),
    MetricInfo("energy_idle_j", "J", "energy of machines while idle", None, 3),
    MetricInfo("time_to_accuracy@*", "s", "time to accuracy {}", "lower", 4, headline=True),
    MetricInfo("bytes_to_accuracy@*", "B", "bytes sent per worker to accuracy {}", "lower", 0),
    MetricInfo("energy_to_accuracy@*", "J", "energy to accuracy {}", "lower", 3),
    MetricInfo("local_s", "s", "local time per worker", "lower", 4),
    MetricInfo("wire_s", "s", "wire time per worker, waiting included", "lower", 4),
    MetricInfo("share_computing", "1", "share of time: gradients", None, 3),
    MetricInfo("share_compressing", "1", "share of time: compressing", None, 3),
    MetricInfo("share_merging", "1", "share of time: adding and merging what arrived", None, 3),
    MetricInfo("share_wire", "1", "share of time: wire, waiting included", None, 3),
    MetricInfo("busiest_link_utilisation", "1", "utilisation of the busiest link", None, 3),
    MetricInfo("workers", "1", "workers at the start", None, 0),
    MetricInfo("downtime_s", "s", "time from crash to going on", "lower", 2, absent=0.0),
]


def summarise_run(ledger: pd.DataFrame, metrics: pd.DataFrame, workers: int) -> list[Row]:
    """Return (metric, unit, value) rows of one run; nodes below *workers* are workers, those above are servers.

    A run that learns nothing has no rows of accuracy and loss. A target accuracy that the run never reached gives NaN. Bytes "per
    worker" are those of all nodes, servers included, over the number of workers, so that a server's share is not got for nothing.
    A worker that crashed is counted until then, and the spare time that the ledger charges as idle goes on (a dead machine is still
    plugged in).

    Departures: the wire time of the gs-SGD notes (2.1) is the time that is neither gradient nor compression. Here what the
    workers compute *between* messages (adding, merging) is told apart from it too, since it is local time as well; under ideal
    pricing the closed form holds it, and it stays in the wire time.
    """
    end_s = end_of(ledger, metrics)
    values = [
        *_learnt(metrics),
        ("workers", "1", float(workers)),
        *_pace(ledger, metrics, end_s),
        *_sent(ledger, workers),
        *energy_rows(ledger),
        *_targets(ledger, metrics, workers),
        *_shares(ledger, metrics, workers, end_s),
        *_failures(metrics, end_s),
    ]
    used = _named(metrics, "link_utilisation")
    if len(used):
        values.append(("busiest_link_utilisation", "1", float(used["value"].max())))
    others = metrics[~metrics["name"].isin(KNOWN).to_numpy(bool)]
    values += [(str(name), "1", float(mean)) for name, mean in others.groupby("name", observed=True)["value"].mean().items()]
    order = {info.name: i for i, info in enumerate(CLUSTER_METRICS)}

    def place(row: Row) -> int:
        family = f"{row[0].partition('@')[0]}@*" if "@" in row[0] else row[0]
        return order.get(family, len(order))

    return sorted(values, key=place)


def end_of(ledger: pd.DataFrame, metrics: pd.DataFrame) -> float:
    """Time in s at which the run ended: as it was recorded, or the end of the last charge that lasted."""
    told = _named(metrics, "end_s")["value"]
    if len(told):
        return float(told.iloc[-1])
    lasting = ledger[_is(ledger, "kind", "compute", "tx")]
    return float((lasting["t0_s"] + lasting["dur_s"]).max()) if len(lasting) else 0.0


def spent_until(ledger: pd.DataFrame, at_s: Floats) -> tuple[Floats, Floats]:
    """Return the bytes sent by all nodes and the energy in J of everything, from the start until each time of *at_s*.

    What is under way counts in proportion. Idle energy is kept as one row per machine or link over the whole run, so it is spread:
    a machine draws its idle power whenever it does not compute, a link all the time.
    """
    idle = ledger[_is(ledger, "kind", "idle")]
    idle_w = idle["energy_j"].to_numpy(float) / np.maximum(idle["dur_s"].to_numpy(float), TINY_S)
    idle_w[idle["dur_s"].to_numpy(float) <= TINY_S] = 0.0
    hosts = idle["node"].to_numpy(np.int64)
    costly = ledger[_is(ledger, "kind", "compute", "tx", "store")]
    node = costly["node"].to_numpy(np.int64)
    computing = _is(costly, "kind", "compute")
    power_w = np.bincount(hosts[hosts >= 0], weights=idle_w[hosts >= 0], minlength=int(node.max(initial=0)) + 1)
    t0_s, dur_s = costly["t0_s"].to_numpy(float), costly["dur_s"].to_numpy(float)
    nbytes = np.where(_is(costly, "kind", "tx"), costly["nbytes"].to_numpy(float), 0.0)
    above_idle_j = costly["energy_j"].to_numpy(float) - np.where(computing, power_w[node] * dur_s, 0.0)
    sent, energy_j = np.zeros(len(at_s)), np.zeros(len(at_s))
    lasts_s = np.maximum(dur_s, TINY_S)
    for i, t_s in enumerate(at_s):
        share = np.clip((t_s - t0_s) / lasts_s, 0.0, 1.0)
        sent[i] = share @ nbytes
        energy_j[i] = share @ above_idle_j + t_s * idle_w.sum()
    return sent, energy_j


def node_of(name: str) -> int:
    """Number of the worker that is called ``worker3``, or ``3``; -1 for other names."""
    found = re.fullmatch(r"(?:worker)?(\d+)", name)
    return int(found[1]) if found else -1


def _is(frame: pd.DataFrame, column: str, *names: str) -> NDArray[np.bool_]:
    return frame[column].isin(names).to_numpy(bool)


def _named(metrics: pd.DataFrame, name: str) -> pd.DataFrame:
    return metrics[_is(metrics, "name", name)]


def _ratio(total: float, count: float) -> float:
    return float(total) / count if count else NAN


def _learnt(metrics: pd.DataFrame) -> list[Row]:
    """The last accuracy and loss on the test data."""
    found = {row: _named(metrics, name).sort_values("t_s", kind="stable")["value"] for name, row in LEARNT.items()}
    return [(row, "1", float(values.iloc[-1])) for row, values in found.items() if len(values)]


def _pace(ledger: pd.DataFrame, metrics: pd.DataFrame, end_s: float) -> list[Row]:
    """How long the run and one of its steps took, and how many gradients all workers took per second."""
    rows: list[Row] = [("end_s", "s", end_s)]
    steps = int(metrics["step"].to_numpy(np.int64)[_is(metrics, "name", "train_loss")].max(initial=0))
    gradients = int((_is(ledger, "kind", "compute") & _is(ledger, "phase", "gradient")).sum())
    if steps:
        rows.append(("s_per_step", "s", end_s / steps))
    if gradients:
        rows.append(("gradients_per_s", "1/s", _ratio(gradients, end_s)))
    return rows


def _sent(ledger: pd.DataFrame, workers: int) -> list[Row]:
    """Payload bytes by sender."""
    sent = ledger[_is(ledger, "kind", "tx")]
    by_node = np.bincount(sent["node"].to_numpy(np.int64), weights=sent["nbytes"].to_numpy(float))
    rows = [("bytes_busiest_worker", "B", float(by_node[:workers].max(initial=0.0)))]
    if len(by_node) > workers:
        rows.append(("bytes_busiest_server", "B", float(by_node[workers:].max())))
    return [*rows, ("bytes_total", "B", float(by_node.sum()))]


def energy_rows(ledger: pd.DataFrame) -> list[Row]:
    """Energy in all and its parts, which add up to it."""
    energy_j = ledger["energy_j"].to_numpy(float)
    idle = _is(ledger, "kind", "idle")
    machine = ledger["node"].to_numpy(np.int64) >= 0
    parts = {
        "energy_computing_j": _is(ledger, "kind", "compute"),
        "energy_links_j": _is(ledger, "kind", "tx") | (idle & ~machine),
        "energy_idle_j": idle & machine,
    }
    stored = _is(ledger, "kind", "store")
    if stored.any():
        parts["energy_storage_j"] = stored
    sums_j = {name: float(energy_j[rows].sum()) for name, rows in parts.items()}
    return [("energy_total_j", "J", sum(sums_j.values())), *((name, "J", value) for name, value in sums_j.items())]


def _targets(ledger: pd.DataFrame, metrics: pd.DataFrame, workers: int) -> list[Row]:
    """Time, bytes per worker and energy at the first evaluation that reached each target."""
    targets = np.unique(_named(metrics, "target")["value"].to_numpy(float))
    reached = _named(metrics, "test_accuracy").sort_values("t_s", kind="stable")
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
    for row in _named(metrics, "crash").itertuples():
        node = node_of(str(row.who))
        if 0 <= node < workers:
            life_s[node] = min(life_s[node], float(str(row.t_s)))
    computed = ledger[_is(ledger, "kind", "compute") & (ledger["node"].to_numpy(np.int64) < workers)]
    until_s = life_s[computed["node"].to_numpy(np.int64)]
    done_s = np.clip(until_s - computed["t0_s"].to_numpy(float), 0.0, computed["dur_s"].to_numpy(float))
    gradient, compress = _is(computed, "phase", "gradient"), _is(computed, "phase", "compress")
    total_s = float(life_s.sum())
    parts_s = [float(done_s[rows].sum()) for rows in (gradient, compress, ~gradient & ~compress)]
    wire_s = max(0.0, total_s - sum(parts_s))
    names = ("share_computing", "share_compressing", "share_merging", "share_wire")
    return [
        ("local_s", "s", sum(parts_s) / workers),
        ("wire_s", "s", wire_s / workers),
        *((name, "1", _ratio(part_s, total_s)) for name, part_s in zip(names, (*parts_s, wire_s), strict=True)),
    ]


def _failures(metrics: pd.DataFrame, end_s: float) -> list[Row]:
    """How long the others stood still after crashes: from each until the next recovery, what overlaps counted once."""
    crashes = np.sort(_named(metrics, "crash")["t_s"].to_numpy(float))
    back = np.sort(_named(metrics, "recovered")["t_s"].to_numpy(float))
    if not len(crashes):
        return []
    down_s, until_s = 0.0, 0.0
    for crash_s in crashes:
        after = back[back >= crash_s]
        upto_s = float(after[0]) if len(after) else end_s
        down_s += max(0.0, upto_s - max(float(crash_s), until_s))
        until_s = max(until_s, upto_s)
    return [("downtime_s", "s", down_s)]
