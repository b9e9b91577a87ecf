"""A rehearsal's results as tables: one row per arm and case, and what measured throughputs say about them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from toolkit.analysis.comparison import Comparison
from toolkit.cluster.settings import ClusterSettings
from toolkit.cluster.topology import Topology
from toolkit.methods.rehearsal.measured import MeasuredRuns
from toolkit.methods.rehearsal.program import Rehearsal
from toolkit.scenario import Scenario

COLUMNS = ["arm", "case", "exchange", "schedule", "network", "workers", "parameters", "assumed", "gradient_s", "step_s", "exchange_s",
           "measured_step_s"]


def cases_table(result: Comparison) -> pd.DataFrame:
    """Return one row per arm and case (means over seeds): what was exchanged how, over which network, and how long a step took.

    `step_s` is the time from one step to the next, `measured_step_s` NaN where nothing was measured. `network` is the arm's own name
    where the name of the topology does not tell arms apart.
    """
    means = result.report.groupby(["arm", "metric"])["value"].mean()
    rows = []
    for arm, scenario in result.scenario.arms().items():
        program, fabric = rehearsal_of(scenario), scenario.fabric
        assert isinstance(fabric, ClusterSettings)  # as the program has checked
        for name, case in program.cases.items():
            step_s, exchange_s, measured_s = (
                float(means.get((arm, f"{metric}@{name}"), np.nan)) for metric in ("step_s", "exchange_s", "measured_step_s")
            )
            rows.append((arm, name, program.exchange.type_name(), fabric.collectives.all_reduce.type_name(), network_name(fabric.topology),
                         fabric.workers, case.parameters, case.assumed, program.gradient_s(name), step_s, exchange_s, measured_s))
    table = pd.DataFrame(rows, columns=COLUMNS)
    if table.duplicated(["case", "exchange", "schedule", "network", "workers"]).any():
        table["network"] = table["arm"]
    return table


def rehearsal_of(scenario: Scenario) -> Rehearsal:
    """Return the program of a scenario whose results are read as a rehearsal's."""
    assert isinstance(scenario.program, Rehearsal)
    return scenario.program


def network_name(topology: Topology) -> str:
    """``star``, ``tree 4:1``, ``fat tree``."""
    name = topology.type_name().rpartition(".")[2].replace("_", " ")
    narrow = getattr(topology, "oversubscription", None)
    return name if narrow is None else f"{name} {narrow:g}:1"


def validation_table(table: pd.DataFrame, measured: MeasuredRuns) -> pd.DataFrame:
    """Fit constants on some group sizes and predict all.

    The constant of a case and exchange is the mean of ``measured - simulated`` step times over `fit_workers` (column `constant_s`;
    `constant_low_s` and `constant_high_s` are its extremes). The stricter variant has one constant per exchange, in seconds per
    parameter, by least squares through the origin over the fitted steps of all cases whose number of parameters is known
    (`per_parameter_s`). Columns `error` and `error_per_parameter` are those of the predicted throughput, ``predicted / measured - 1``.
    """
    table = table[np.isfinite(table["measured_step_s"])].copy()
    table["gap_s"] = table["measured_step_s"] - table["step_s"]
    table["fitted"] = table["workers"].isin(measured.fit_workers)
    gaps = table[table["fitted"]].groupby(["exchange", "case"])["gap_s"].agg(["mean", "min", "max"])
    gaps.columns = pd.Index(["constant_s", "constant_low_s", "constant_high_s"])
    table = table.merge(gaps.reset_index(), on=["exchange", "case"], how="left", sort=False)
    table["predicted_step_s"] = table["step_s"] + table["constant_s"]
    table["error"] = table["measured_step_s"] / table["predicted_step_s"] - 1
    rates = {str(exchange): _per_parameter(group) for exchange, group in table.groupby("exchange", sort=False)}
    table["per_parameter_s"] = table["exchange"].map(rates).astype(float)
    table["error_per_parameter"] = table["measured_step_s"] / (table["step_s"] + table["per_parameter_s"] * table["parameters"]) - 1
    return table


def _per_parameter(group: pd.DataFrame) -> float:
    """Seconds per parameter that fit the gaps best, in the sense of least squares."""
    known = group[group["fitted"] & ~group["assumed"]]
    size, gap_s = known["parameters"].to_numpy(float), known["gap_s"].to_numpy(float)
    return float(size @ gap_s / (size @ size)) if len(known) else float("nan")
