"""What one run of continual learning came to: what is known at the end, what was forgotten, and what it all cost."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from toolkit.analysis.costs import end_of, energy_rows
from toolkit.analysis.metric import MetricInfo
from toolkit.analysis.report import Report, Row
from toolkit.analysis.rows import NAN
from toolkit.learning import continual_metrics as measure
from toolkit.methods.continual.findings import continual_findings

CONTINUAL_METRICS: tuple[MetricInfo, ...] = (
    MetricInfo("class_il", "1", "class-IL accuracy", "higher", 4, headline=True, share=True),
    MetricInfo("incremental", "1", "average incremental accuracy A, the first task in it", "higher", 4, headline=True, share=True),
    MetricInfo("last_accuracy", "1", "last accuracy A_T, by classes", "higher", 4, share=True),
    MetricInfo("task_il", "1", "task-IL accuracy", "higher", 4, headline=True, share=True),
    MetricInfo("forgetting", "1", "forgetting", "lower", 4, headline=True),
    MetricInfo("end_s", "s", "time in all", "lower", 4, headline=True),
    MetricInfo("energy_total_j", "J", "energy in all", "lower", 3, headline=True),
    MetricInfo("flops", "FLOP", "operations", "lower", 0),
    MetricInfo("memory_nbytes", "B", "memory needed", "lower", 0, headline=True),
    MetricInfo("buffer_nbytes", "B", "size of the replay memory", "lower", 0),
    MetricInfo("buffer_capacity", "1", "samples in the replay memory", None, 0),
    MetricInfo("flash_read_nbytes", "B", "read from flash", "lower", 0),
    MetricInfo("flash_written_nbytes", "B", "written to flash", "lower", 0),
    MetricInfo("moved_nbytes", "B", "moved through memory", "lower", 0),
    MetricInfo("parameters", "1", "weights", None, 0),
    MetricInfo("forgetting_mammoth", "1", "forgetting (never negative)", "lower", 4),
    MetricInfo("task_il_forgetting", "1", "forgetting, task-IL", "lower", 4),
    MetricInfo("bwt", "1", "backward transfer", "higher", 4),
    MetricInfo("fwt", "1", "forward transfer", "higher", 4),
    MetricInfo("stability", "1", "stability", "higher", 4, share=True),
    MetricInfo("plasticity", "1", "plasticity", "higher", 4, share=True),
    MetricInfo("trade_off", "1", "stability-plasticity trade-off", "higher", 4, share=True),
    MetricInfo("class_il@*", "1", "final accuracy, task {}", None, 4, share=True),
    MetricInfo("kept_nbytes", "B", "kept between tasks", "lower", 0),
    MetricInfo("kept_paper_nbytes", "B", "kept between tasks, as papers count", "lower", 0),
    MetricInfo("class_nbytes", "B", "kept of each further class", "lower", 0),
    MetricInfo("uplink_nbytes", "B", "decoder alone, for an uplink", "lower", 0),
    MetricInfo("step_flops@*", "FLOP", "operations of a step in the last task: {}", "lower", 0),
    MetricInfo("flops_per_step", "FLOP", "operations per step", "lower", 0),
    MetricInfo("s_per_step", "s", "time per step", "lower", 5),
    MetricInfo("energy_computing_j", "J", "energy of computing", None, 3),
    MetricInfo("energy_storage_j", "J", "energy of storage", None, 3),
    MetricInfo("energy_idle_j", "J", "energy while idle", None, 3),
    MetricInfo("energy_links_j", "J", "energy of links", None, 3),
)


def summarise_run(ledger: pd.DataFrame, metrics: pd.DataFrame) -> list[Row]:
    """Return (metric, unit, value) rows of one run.

    A method that learns all tasks at once has been examined once: it has a final accuracy, and no forgetting or transfer. A run that only
    priced its steps has costs alone.
    """
    return [*_learnt(metrics), *_costs(ledger, metrics)]


def matrix(metrics: pd.DataFrame, name: str, kind: str = "examined") -> NDArray[np.float64]:
    """Return accuracies as recorded under ``kind:name``: rows by examination, columns by task or class, NaN where there is none."""
    rows = metrics[(metrics["name"] == f"{kind}:{name}").to_numpy(bool)]
    if rows.empty:
        return np.full((0, 0), NAN)
    after, columns = np.maximum(rows["step"].to_numpy(int), 0), rows["who"].to_numpy(str).astype(int)
    found = np.full((after.max() + 1, columns.max() + 1), NAN)
    found[after, columns] = rows["value"].to_numpy(float)
    return found


def _learnt(metrics: pd.DataFrame) -> list[Row]:
    class_il, task_il = matrix(metrics, "class_il"), matrix(metrics, "task_il")
    if not class_il.size:
        return []
    classes = metrics.loc[(metrics["name"] == "task_classes").to_numpy(bool), ["who", "value"]]
    untrained = matrix(metrics, "class_il", "untrained")[0]
    values = {
        "class_il": measure.average(class_il), "task_il": measure.average(task_il), "forgetting": measure.forgetting(class_il),
        "forgetting_mammoth": measure.forgetting(class_il, "mammoth"), "task_il_forgetting": measure.forgetting(task_il),
        "bwt": measure.backward_transfer(class_il), "fwt": measure.forward_transfer(class_il, untrained),
        "stability": measure.stability(class_il), "plasticity": measure.plasticity(class_il), "trade_off": measure.trade_off(class_il),
    }
    if len(classes) == len(class_il):
        weights = classes.set_index(classes["who"].astype(int))["value"].sort_index().to_numpy(float)
        seen = measure.incremental(class_il, weights)
        values |= {"incremental": float(seen.mean()), "last_accuracy": float(seen[-1])}
    if np.isnan(class_il[:-1]).any():  # examined once
        values = {name: value if name in {"class_il", "task_il", "last_accuracy"} else NAN for name, value in values.items()}
    rows = [(name, "1", value) for name, value in values.items()]
    return rows + [(f"class_il@{task + 1}", "1", float(value)) for task, value in enumerate(class_il[-1])]


def _costs(ledger: pd.DataFrame, metrics: pd.DataFrame) -> list[Row]:
    def total(kind: str, column: str, outcome: str = "") -> float:
        chosen = (ledger["kind"] == kind).to_numpy(bool)
        if outcome:
            chosen = chosen & (ledger["outcome"] == outcome).to_numpy(bool)
        return float(ledger.loc[chosen, column].sum())

    end_s = end_of(ledger, metrics)
    steps = int(((ledger["kind"] == "compute") & (ledger["phase"] == "step")).sum())
    flops = total("compute", "flops")
    rows: list[Row] = [
        ("end_s", "s", end_s), *energy_rows(ledger), ("flops", "FLOP", flops), ("moved_nbytes", "B", total("compute", "nbytes")),
        ("flash_read_nbytes", "B", total("store", "nbytes", "read")), ("flash_written_nbytes", "B", total("store", "nbytes", "written")),
        ("workers", "1", 1.0),
    ]
    if steps:
        rows += [("flops_per_step", "FLOP", flops / steps), ("s_per_step", "s", end_s / steps)]
    step = metrics[(metrics["name"] == "step_flops").to_numpy(bool)]
    step = step[(step["step"] == step["step"].max()).to_numpy(bool)]
    rows += [(f"step_flops@{who}", "FLOP", float(value)) for who, value in zip(step["who"], step["value"], strict=True)]
    kept = [(name, "B") for name in ("kept_nbytes", "kept_paper_nbytes", "class_nbytes", "uplink_nbytes")]
    for name, unit in (*kept, ("memory_nbytes", "B"), ("buffer_nbytes", "B"), ("buffer_capacity", "1"), ("parameters", "1")):
        values = metrics.loc[(metrics["name"] == name).to_numpy(bool), "value"]
        if len(values):
            rows.append((name, unit, float(values.max())))
    return rows


REPORT = Report(
    metrics=CONTINUAL_METRICS, summarise=lambda run: summarise_run(run.ledger, run.metrics), findings=continual_findings, ordered=True,
)
