"""What a federation came to: what was learnt, what became of every errand, how stale updates were, and what it cost the clients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from toolkit.analysis.costs import BYTES_TOTAL, END_S, ENERGY, FLOPS, flops_row
from toolkit.analysis.metric import MetricInfo
from toolkit.analysis.report import Report, Row, Run
from toolkit.analysis.rows import is_in, last, named, ratio
from toolkit.cluster.report import NETWORK, workers_of
from toolkit.methods.distributed.report import learnt_rows, target_rows
from toolkit.methods.federated.findings import federated_findings

_NETWORK = {info.name: info for info in NETWORK.infos}
COUNTS = ("rounds", "sent_out", "aggregated", "under_way")
FEDERATED_METRICS = (
    MetricInfo("final_accuracy", "1", "final test accuracy", "higher", 4, headline=True, share=True),
    MetricInfo("final_loss", "1", "final test loss", "lower", 4),
    MetricInfo("trained_s", "s", "time to the last version", "lower", 3, headline=True),
    MetricInfo("round_s", "s", "time per version", "lower", 4),
    MetricInfo("time_to_accuracy@*", "s", "time to accuracy {}", "lower", 3, headline=True),
    MetricInfo("bytes_to_accuracy@*", "B", "bytes sent per client to accuracy {}", "lower", 0),
    MetricInfo("energy_to_accuracy@*", "J", "energy to accuracy {}", "lower", 2),
    MetricInfo("bytes_down", "B", "bytes to the clients", "lower", 0),
    MetricInfo("bytes_up", "B", "bytes from the clients", "lower", 0),
    replace(BYTES_TOTAL, headline=True),
    replace(_NETWORK["bytes_busiest_worker"], headline=False),
    MetricInfo("energy_client_mean_j", "J", "energy of a client, mean", "lower", 2),
    MetricInfo("energy_client_max_j", "J", "energy of the client that needs most", "lower", 2),
    MetricInfo("energy_asked_j", "J", "energy of clients for what they are asked", "lower", 2, headline=True),
    *(replace(info, headline=False) for info in ENERGY),
    MetricInfo("rounds", "1", "versions of the model", None, 0),
    MetricInfo("sent_out", "1", "errands", None, 0),
    MetricInfo("aggregated", "1", "updates in the model", None, 0),
    MetricInfo("dropped@late", "1", "updates dropped, after the deadline", "lower", 0),
    MetricInfo("dropped@spare", "1", "updates dropped, more than wanted", "lower", 0),
    MetricInfo("dropped@left", "1", "updates dropped, client gone", "lower", 0),
    MetricInfo("under_way", "1", "errands under way at the end", None, 0),
    MetricInfo("staleness_mean", "1", "staleness, mean", "lower", 3),
    MetricInfo("staleness_max", "1", "staleness, most", "lower", 0),
    MetricInfo("took_part_mean", "1", "updates of a client, mean", None, 3),
    MetricInfo("took_part_max", "1", "updates of a client, most", None, 0),
    MetricInfo("took_part_share", "1", "share of clients that ever took part", "higher", 3, share=True),
    replace(END_S, headline=False),
    FLOPS,
)


def federated_rows(run: Run) -> list[Row]:
    """Return (metric, unit, value) rows of one run, besides those of the network.

    A message's energy is that of all links on its way and is put down to the client, whichever way it goes; so is the idle power of its
    machine, until the end of the run. `energy_asked_j` leaves that out: only what clients compute, send and receive.
    """
    ledger, metrics, clients = run.ledger, run.metrics, workers_of(run)
    versions = last(metrics, "rounds")
    rows: list[Row] = [*learnt_rows(metrics), ("trained_s", "s", last(metrics, "trained_s"))]
    rows.append(("round_s", "s", ratio(last(metrics, "trained_s"), versions)))
    rows += target_rows(ledger, metrics, clients)
    sent = ledger[is_in(ledger, "kind", "tx")]
    by_server = sent["node"].to_numpy(np.int64) >= clients
    nbytes = sent["nbytes"].to_numpy(float)
    rows += [("bytes_down", "B", float(nbytes[by_server].sum())), ("bytes_up", "B", float(nbytes[~by_server].sum()))]
    energy_j, asked_j = client_energy(ledger, clients)
    rows += [("energy_client_mean_j", "J", float(energy_j.mean())), ("energy_client_max_j", "J", float(energy_j.max()))]
    rows.append(("energy_asked_j", "J", float(asked_j.sum())))
    rows += [(name, "1", last(metrics, name)) for name in COUNTS]
    dropped = named(metrics, "dropped")
    rows += [(f"dropped@{row.who}", "1", float(str(row.value))) for row in dropped.itertuples()]
    rows += _spread("staleness", metrics)
    rows += [*_spread("took_part", metrics), ("took_part_share", "1", 1.0 - ratio(_count(metrics, "took_part", 0), clients))]
    return [*rows, flops_row(ledger)]


def client_energy(ledger: pd.DataFrame, clients: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the energy in J of each client, and the part of it that is for what it was asked to do."""
    node, peer = (ledger[name].to_numpy(np.int64) for name in ("node", "peer"))
    of = np.where(is_in(ledger, "kind", "tx") & (node >= clients), peer, node)
    own, idle = (of >= 0) & (of < clients), is_in(ledger, "kind", "idle")
    energy_j = ledger["energy_j"].to_numpy(float)
    whole, asked = (np.bincount(of[rows], weights=energy_j[rows], minlength=clients).astype(float) for rows in (own, own & ~idle))
    return whole, asked


def histogram(metrics: pd.DataFrame, name: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the values that the histogram *name* has, and how often each."""
    rows = named(metrics, name)
    return rows["who"].astype(str).to_numpy(str).astype(np.int64), rows["value"].to_numpy(float)


def _spread(name: str, metrics: pd.DataFrame) -> list[Row]:
    values, counts = histogram(metrics, name)
    if not counts.sum():
        return []
    return [(f"{name}_mean", "1", float(values @ counts / counts.sum())), (f"{name}_max", "1", float(values.max()))]


def _count(metrics: pd.DataFrame, name: str, value: int) -> float:
    values, counts = histogram(metrics, name)
    return float(counts[values == value].sum())


REPORT = Report(metrics=FEDERATED_METRICS, summarise=federated_rows, findings=federated_findings, extends=NETWORK, ordered=True)
