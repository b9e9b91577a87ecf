"""What any run cost: seconds, joules, bytes and operations, all from its ledger."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from toolkit.analysis.metric import MetricInfo
from toolkit.analysis.report import Report, Row, Run
from toolkit.analysis.rows import is_in, named

Floats = NDArray[np.float64]
TINY_S = 1e-15

END_S = MetricInfo("end_s", "s", "time to the end", "lower", 4, headline=True)
BYTES_TOTAL = MetricInfo("bytes_total", "B", "bytes sent in all", "lower", 0)
FLOPS = MetricInfo("flops", "FLOP", "operations", "lower", 0)
ENERGY = (
    MetricInfo("energy_total_j", "J", "energy in all", "lower", 3, headline=True),
    MetricInfo("energy_computing_j", "J", "energy of computing", None, 3),
    MetricInfo("energy_storage_j", "J", "energy of storage", None, 3),
    MetricInfo("energy_links_j", "J", "energy of links and interfaces", None, 3),
    MetricInfo("energy_idle_j", "J", "energy of machines while idle", None, 3),
)


def end_of(ledger: pd.DataFrame, metrics: pd.DataFrame) -> float:
    """Time in s at which the run ended: as it was recorded, or the end of the last charge that lasted."""
    told = named(metrics, "end_s")["value"]
    if len(told):
        return float(told.iloc[-1])
    lasting = ledger[is_in(ledger, "kind", "compute", "tx")]
    return float((lasting["t0_s"] + lasting["dur_s"]).max()) if len(lasting) else 0.0


def energy_rows(ledger: pd.DataFrame) -> list[Row]:
    """Energy in all and its parts, which add up to it."""
    energy_j = ledger["energy_j"].to_numpy(float)
    idle = is_in(ledger, "kind", "idle")
    machine = ledger["node"].to_numpy(np.int64) >= 0
    parts = {
        "energy_computing_j": is_in(ledger, "kind", "compute"),
        "energy_links_j": is_in(ledger, "kind", "tx", "rx") | (idle & ~machine),
        "energy_idle_j": idle & machine,
    }
    stored = is_in(ledger, "kind", "store")
    if stored.any():
        parts["energy_storage_j"] = stored
    sums_j = {name: float(energy_j[rows].sum()) for name, rows in parts.items()}
    return [("energy_total_j", "J", sum(sums_j.values())), *((name, "J", value) for name, value in sums_j.items())]


def flops_row(ledger: pd.DataFrame) -> Row:
    """The operations of all nodes."""
    return "flops", "FLOP", float(ledger["flops"].sum())


def cost_rows(run: Run) -> list[Row]:
    """Return time, energy, bytes and operations of one run."""
    sent = run.ledger[is_in(run.ledger, "kind", "tx")]
    return [
        ("end_s", "s", end_of(run.ledger, run.metrics)), *energy_rows(run.ledger),
        ("bytes_total", "B", float(sent["nbytes"].sum())), flops_row(run.ledger),
    ]


def spent_until(ledger: pd.DataFrame, at_s: Floats) -> tuple[Floats, Floats]:
    """Return the bytes sent by all nodes and the energy in J of everything, from the start until each time of *at_s*.

    What is under way counts in proportion. Idle energy is kept as one row per machine or link over the whole run, so it is spread:
    a machine draws its idle power whenever it does not compute, a link all the time.
    """
    idle = ledger[is_in(ledger, "kind", "idle")]
    idle_w = idle["energy_j"].to_numpy(float) / np.maximum(idle["dur_s"].to_numpy(float), TINY_S)
    idle_w[idle["dur_s"].to_numpy(float) <= TINY_S] = 0.0
    hosts = idle["node"].to_numpy(np.int64)
    costly = ledger[is_in(ledger, "kind", "compute", "tx", "store")]
    node = costly["node"].to_numpy(np.int64)
    computing = is_in(costly, "kind", "compute")
    power_w = np.bincount(hosts[hosts >= 0], weights=idle_w[hosts >= 0], minlength=int(node.max(initial=0)) + 1)
    t0_s, dur_s = costly["t0_s"].to_numpy(float), costly["dur_s"].to_numpy(float)
    nbytes = np.where(is_in(costly, "kind", "tx"), costly["nbytes"].to_numpy(float), 0.0)
    above_idle_j = costly["energy_j"].to_numpy(float) - np.where(computing, power_w[node] * dur_s, 0.0)
    sent, energy_j = np.zeros(len(at_s)), np.zeros(len(at_s))
    lasts_s = np.maximum(dur_s, TINY_S)
    for i, t_s in enumerate(at_s):
        share = np.clip((t_s - t0_s) / lasts_s, 0.0, 1.0)
        sent[i] = share @ nbytes
        energy_j[i] = share @ above_idle_j + t_s * idle_w.sum()
    return sent, energy_j


COSTS = Report(metrics=(END_S, *ENERGY, BYTES_TOTAL, FLOPS), summarise=cost_rows)
"""What every report may extend, and what a run without a report of its own is told as."""
