"""A run's ledger as a timeline: events in the format that chrome://tracing and Perfetto open.

Source: "Trace Event Format", the JSON object form with complete events (``ph: X``), counters (``C``), instants (``i``) and metadata
(``M``); times are in microseconds. One process per node; its lanes are what the node used. Messages of one node that overlap in
time lie in lanes of their own, since events of one lane may not cross.
"""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

LANES = ("compute", "tx", "rx")
"""Kinds of charges that have a place in time; idle rows are sums over a run."""
LANES_PER_KIND = 1_000_000
COUNTERS = ("train_loss", "test_loss", "test_accuracy")
INSTANTS = ("crash", "recovered")
NS_PER_S = 1e9
RUN = -1
"""Process of what belongs to no node: the learning curves, failures."""

Event = dict[str, object]


def trace_events(ledger: pd.DataFrame, metrics: pd.DataFrame, name_of: Callable[[int], str]) -> Iterator[Event]:
    """Return the events of one run: names first, then charges by node and lane in order of time, then observations."""
    timed = ledger[ledger["kind"].isin(LANES).to_numpy(bool)]
    for node in np.unique(timed["node"].to_numpy(np.int64)).tolist():
        yield _meta("process_name", node, name=name_of(node))
        yield _meta("process_sort_index", node, sort_index=node)
    for (node, kind), rows in timed.groupby(["node", timed["kind"].astype(str)], sort=True):
        yield from _lane(rows.sort_values("t0_s", kind="stable"), int(str(node)), str(kind))
    observed = metrics[metrics["name"].isin([*COUNTERS, *INSTANTS]).to_numpy(bool)]
    if len(observed):
        yield _meta("process_name", RUN, name="run")
        yield _meta("process_sort_index", RUN, sort_index=RUN)
    for t_s, name, who, value in observed[["t_s", "name", "who", "value"]].itertuples(index=False, name=None):
        if not math.isfinite(value):  # a training that diverged; JSON has no such number
            continue
        event = {"name": name, "pid": RUN, "tid": 0, "ts": round(t_s * NS_PER_S) / 1000}
        if name in COUNTERS:
            yield {**event, "ph": "C", "args": {name: value}}
        else:
            yield {**event, "ph": "i", "s": "g", "name": f"{name} {who}".strip()}


def write_trace(path: Path, events: Iterator[Event]) -> int:
    """Write *events* to *path*, one on a line, and return how many there were."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with path.open("w", encoding="utf-8") as file:
        file.write('{"displayTimeUnit":"ms","traceEvents":[')
        for event in events:
            file.write((",\n" if count else "\n") + json.dumps(event, separators=(",", ":"), allow_nan=False, ensure_ascii=False))
            count += 1
        file.write("\n]}\n")
    return count


def _meta(what: str, node: int, lane: int = 0, **args: object) -> Event:
    return {"name": what, "ph": "M", "pid": node, "tid": lane, "args": args}


def _lane(rows: pd.DataFrame, node: int, kind: str) -> Iterator[Event]:
    """The charges of one node and kind, in as many lanes as overlap at once."""
    begin_s = rows["t0_s"].to_numpy(float)
    begin_ns = np.rint(begin_s * NS_PER_S).astype(np.int64)
    end_ns = np.rint((begin_s + rows["dur_s"].to_numpy(float)) * NS_PER_S).astype(np.int64)
    lanes, begin_ns = lanes_of(begin_ns, end_ns)
    first = LANES.index(kind) * LANES_PER_KIND
    for lane in range(int(lanes.max()) + 1):
        yield _meta("thread_name", node, first + lane, name=f"{kind} {lane + 1}" if lane else kind)
        yield _meta("thread_sort_index", node, first + lane, sort_index=first + lane)
    fields = rows[["phase", "peer", "nbytes", "flops", "energy_j", "outcome"]].itertuples(index=False, name=None)
    for lane, start, end, (phase, peer, nbytes, flops, energy_j, outcome) in zip(
        lanes.tolist(), begin_ns.tolist(), end_ns.tolist(), fields, strict=True
    ):
        args: Event = {"bytes": int(nbytes), "energy_j": float(energy_j), "outcome": str(outcome)}
        args |= {"flops": float(flops)} if kind == "compute" else {"peer": int(peer)}
        yield {
            "name": str(phase) or kind, "cat": kind, "ph": "X", "pid": node, "tid": first + lane,
            "ts": start / 1000, "dur": max(0, end - start) / 1000, "args": args,
        }


def lanes_of(begin_ns: NDArray[np.int64], end_ns: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give every interval (sorted by its begin) the lowest lane that is free, and return lanes and begins.

    Two that meet may cross by 1 ns of rounding; the later one is then made to begin where the earlier one ends.
    """
    lanes, begins = np.zeros(len(begin_ns), np.int64), begin_ns.copy()
    busy: list[tuple[int, int]] = []
    free: list[int] = []
    for i, (begin, end) in enumerate(zip(begin_ns.tolist(), end_ns.tolist(), strict=True)):
        while busy and busy[0][0] <= begin + 1:
            until, lane = heapq.heappop(busy)
            heapq.heappush(free, lane)
            begins[i] = max(begins[i], until)
        lane = heapq.heappop(free) if free else len(busy)
        lanes[i] = lane
        heapq.heappush(busy, (max(end, int(begins[i])), lane))
    return lanes, begins
