"""Where seconds, joules and bytes went: the ledgers of a comparison added up by kind of work and by node."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from toolkit.analysis.comparison import Comparison
from toolkit.analysis.metric import MetricInfo
from toolkit.analysis.rows import is_in
from toolkit.core.charges import Charges

QUANTITIES = (
    MetricInfo("dur_s", "s", "seconds"), MetricInfo("energy_j", "J", "joules"), MetricInfo("nbytes", "B", "bytes sent or stored", digits=0),
)
WORK = {"compute": "computing", "store": "storage", "tx": "sending", "rx": "receiving", "idle": "idle"}
"""Kinds of charge that cost anything, as they are called; the others are records of what these add up to."""
MOVES = ("tx", "store")
"""Kinds whose bytes are counted: what was received was sent, and what moves in memory is part of computing."""
MOST_WORK = 12
MOST_NODES = 8


class Spent(NamedTuple):
    """Means over seeds: rows are kinds of work or nodes, columns arms."""

    by_work: dict[str, pd.DataFrame]
    """By the name of one of `QUANTITIES`."""
    by_node: dict[str, pd.DataFrame]


def spent(result: Comparison) -> Spent | None:
    """Return the costs of *result* by kind of work and by node; None where no ledger is at hand.

    Seconds are those that each node was busy, or idle where the ledger says so, so that they add up to more than a run lasts; those of
    links, which draw power from beginning to end, are none.
    """
    parts = list(_runs(result))
    if not parts:
        return None
    frame = pd.concat(parts, ignore_index=True)
    runs = frame.groupby("arm")["seed"].nunique()
    names = [info.name for info in QUANTITIES]
    work = _means(frame, "work", runs, names, result.arms)
    nodes = _means(frame, "node", runs, names, result.arms)
    called = node_names(result, [int(node) for node in frame["node"].unique()])
    return Spent(
        {name: _largest(table, MOST_WORK, "kinds of work") for name, table in work.items()},
        {name: _largest(table.rename(index=called), MOST_NODES, "nodes") for name, table in nodes.items()},
    )


def node_names(result: Comparison, nodes: Iterable[int]) -> dict[int, str]:
    """Return what *nodes* are called: workers and servers of a cluster, nodes and sinks at sea, and -1, the links."""
    counts = result.report.loc[(result.report["metric"] == "workers").to_numpy(bool), "value"].to_numpy(float)
    workers = int(np.nanmax(counts)) if np.isfinite(counts).any() else None
    metrics = result.metrics
    sinks = metrics.loc[(metrics["name"] == "is_sink").to_numpy(bool) & (metrics["value"] > 0).to_numpy(bool), "who"]
    ashore = {int(who) for who in sinks.unique()}

    def called(node: int) -> str:
        if node < 0:
            return "links"
        if workers is not None:
            return f"worker {node}" if node < workers else f"server {node - workers}"
        return f"sink {node}" if node in ashore else f"node {node}"

    return {node: called(node) for node in nodes}


def _runs(result: Comparison) -> Iterator[pd.DataFrame]:
    """Sums of one run after the other, by work and node."""
    for (arm, seed), paths in result.shards.items():
        if arm not in result.arms:
            continue
        totals = Charges(paths).totals
        totals = totals[is_in(totals, "kind", *WORK)]
        moved = totals["nbytes"].where(is_in(totals, "kind", *MOVES), 0)
        phase = totals["phase"].where(~totals["phase"].str.startswith("link "), "links")
        busy_s = totals["dur_s"].where(totals["node"] >= 0, 0.0)
        yield pd.DataFrame({
            "arm": arm, "seed": seed, "node": totals["node"], "dur_s": busy_s, "energy_j": totals["energy_j"], "nbytes": moved,
            "work": totals["kind"].map(WORK) + phase.map(lambda name: f", {name.replace('_', ' ')}" if name else ""),
        })


def _means(frame: pd.DataFrame, by: str, runs: pd.Series, names: list[str], arms: list[str]) -> dict[str, pd.DataFrame]:
    sums = frame.groupby([by, "arm"])[names].sum()
    tables = {name: sums[name].unstack("arm").div(runs).reindex(columns=[arm for arm in arms if arm in runs.index]) for name in names}
    return {name: table[(table.fillna(0.0) != 0).any(axis=1)] for name, table in tables.items()}


def _largest(table: pd.DataFrame, most: int, noun: str) -> pd.DataFrame:
    """The *most* rows with the largest mean over arms, largest first, and the rest as one row."""
    order = table.fillna(0.0).mean(axis=1).sort_values(ascending=False, kind="stable").index
    table = table.loc[order]
    if len(table) <= most + 1:
        return table
    rest = table.iloc[most:].sum(min_count=1).to_frame(f"the other {len(table) - most:,} {noun}").T
    return pd.concat([table.iloc[:most], rest])
