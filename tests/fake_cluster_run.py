"""A made-up run directory of a cluster: any number of arms and seeds, with everything that reports and figures look at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from toolkit.analysis.report import Row, Run
from toolkit.analysis.statistics import REPORT_COLUMNS
from toolkit.cluster.fabric import Cluster
from toolkit.core import yaml12
from toolkit.core.charges import Charges
from toolkit.core.context import Context
from toolkit.core.ledger import Ledger
from toolkit.core.program import Process, Program
from toolkit.methods.distributed.report import REPORT
from toolkit.render.result import Result

ARMS = ("gs-SGD", "dense", "Top-k")
MANY = (
    "gs-SGD", "dense", "parameter-server", "Top-k", "gTop-k", "Sketched-SGD", "FetchSGD", "Random-k", "QSGD", "TernGrad", "signSGD",
    "EF-signSGD", "1-bit", "PowerSGD", "DGC", "local-SGD", "ARC-Top-k",
)
SEEDS = (1, 2, 3)
WORKERS = 4
EVERY = 5
GRADIENT_S, COMPRESS_S, MERGE_S = 0.1, 0.02, 0.005
TARGETS = (0.7, 0.95)


class Nothing(Program):
    """A program that the report is not asked about."""

    def run(self, ctx: Context) -> Process:
        yield from ()


def rows_of(ledger: pd.DataFrame, metrics: pd.DataFrame, workers: int) -> list[Row]:
    """The rows of one run of distributed training."""
    return REPORT.rows(Run(Charges(rest=[ledger]), metrics, float("inf"), Cluster(workers=workers), Nothing()))


def simulate(place: int, seed: int, steps: int = 30, workers: int = WORKERS) -> Ledger:
    """One run in which later arms send more bytes per step, learn a little faster per step and are slower all in all."""
    rng = np.random.default_rng([seed, place])
    nbytes = 1000 * 4**place if place < 6 else 1500 * place
    wire_s = nbytes / 1e5
    ledger = Ledger()
    for target in TARGETS:
        ledger.metric(0.0, "target", target)
    now_s, busy_s = 0.0, 0.0
    for step in range(steps + 1):
        if step % EVERY == 0:
            accuracy = 0.96 - 0.86 * np.exp(-step / (6 + 0.4 * place)) - 0.002 * (seed + place)
            ledger.metric(now_s, "test_accuracy", accuracy, step=step)
            ledger.metric(now_s, "test_loss", 2.3 * (1 - accuracy), step=step)
        if step == steps:
            break
        wait_s = float(rng.uniform(0, 0.01))
        for node in range(workers):
            t_s = now_s
            for phase, dur_s in (("gradient", GRADIENT_S), ("compress", COMPRESS_S)):
                ledger.charge(t_s, dur_s, node, node, "compute", phase=phase, flops=1e9, energy_j=10 * dur_s, outcome="done")
                t_s += dur_s
            ledger.charge(t_s, wire_s, node, (node + 1) % workers, "tx", phase="values", nbytes=nbytes, energy_j=1e-6 * nbytes,
                          outcome="delivered")
            ledger.charge(t_s + wire_s, MERGE_S, node, node, "compute", phase="values", flops=1e6, energy_j=10 * MERGE_S, outcome="done")
        busy_s += GRADIENT_S + COMPRESS_S + MERGE_S
        now_s += GRADIENT_S + COMPRESS_S + wire_s + MERGE_S + wait_s
        ledger.metric(now_s, "train_loss", 2.3 * np.exp(-step / 10), step=step + 1)
    for node in range(workers):
        ledger.charge(0.0, now_s - busy_s, node, node, "idle", phase="host", energy_j=3 * (now_s - busy_s), outcome="done")
        for link, share in ((f"worker{node}>switch", 0.8 * node / workers), (f"switch>worker{node}", 0.6)):
            ledger.charge(0.0, now_s, -1, -1, "idle", phase=f"link {link}", energy_j=0.5 * now_s, outcome="done")
            if share:
                ledger.metric(now_s, "link_utilisation", share / (1 + 0.1 * place), link)
    ledger.metric(now_s, "end_s", now_s)
    return ledger


def build(directory: Path, arms: Sequence[str] = ARMS, seeds: Sequence[int] = SEEDS, steps: int = 30, workers: int = WORKERS) -> Result:
    """Write the run directory and open it."""
    (directory / "ledger").mkdir(parents=True)
    rows, frames = [], []
    for place, arm in enumerate(arms):
        for seed in seeds:
            ledger = simulate(place, seed, steps, workers)
            charges, metrics = ledger.charges(), ledger.metrics()
            charges.to_parquet(directory / "ledger" / f"{arm}-s{seed}-000.parquet", compression="zstd", index=False)
            frames.append(metrics.assign(arm=arm, seed=seed))
            rows += [(arm, seed, *row) for row in rows_of(charges, metrics, workers)]
    pd.concat(frames, ignore_index=True).to_parquet(directory / "metrics.parquet")
    pd.DataFrame(rows, columns=REPORT_COLUMNS).to_csv(directory / "report.csv", index=False)
    versions = {"toolkit": "0.1.0", "report": "toolkit.methods.distributed.report"}
    (directory / "versions.json").write_text(json.dumps(versions), encoding="utf-8")
    scenario = {"name": "made_up", "fabric": {"type": "cluster", "workers": workers}, "compare": {arm: {} for arm in arms}}
    (directory / "scenario.yaml").write_text(yaml12.dump(scenario), encoding="utf-8")
    return Result.load(directory)
