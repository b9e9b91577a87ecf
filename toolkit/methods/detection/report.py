"""What increments came to: AP over all, first and new classes, what was forgotten, and what generating and training cost."""

from __future__ import annotations

import math

import pandas as pd

from toolkit.analysis.metric import MetricInfo
from toolkit.analysis.report import Report, Row
from toolkit.analysis.rows import is_in, last, named
from toolkit.cluster.report import NETWORK
from toolkit.methods.detection.findings import detection_findings

GROUPS = {"all": "all classes seen", "base": "the first step's classes", "new": "the last step's classes"}
QUALITY = {"AP": "ap", "AP50": "ap50", "AP75": "ap75", "APsmall": "ap_small", "APmedium": "ap_medium", "APlarge": "ap_large"}
METRICS = (
    *(MetricInfo(f"ap_{group}", "1", f"AP over {what}", "higher", 3, headline=True, share=True) for group, what in GROUPS.items()),
    MetricInfo("ap_lost", "1", "AP of the first step's classes lost since the first step", "lower", 3, headline=True),
    *(
        MetricInfo(f"{name}_all", "1", f"{quality} over all classes", "higher", 3, share=True)
        for quality, name in QUALITY.items() if name != "ap"
    ),
    MetricInfo("ap_all@*", "1", "AP over all classes seen after step {}", "higher", 3, share=True),
    MetricInfo("ap_base@*", "1", "AP over the first step's classes after step {}", "higher", 3, share=True),
    MetricInfo("ap_class@*", "1", "AP of {} at the end", "higher", 3, share=True),
    MetricInfo("generation_s", "s", "time of generating old objects", "lower", 2, headline=True),
    MetricInfo("training_s", "s", "time of learning the increments", "lower", 2, headline=True),
    MetricInfo("generation_share", "1", "generation's part of generating and learning", "lower", 3, share=True),
    MetricInfo("generation_j", "J", "energy of generating", "lower", 2),
    MetricInfo("training_j", "J", "energy of learning the increments", "lower", 2),
    MetricInfo("generation_flops", "1", "operations of generating", "lower", 0),
    MetricInfo("training_flops", "1", "operations of learning the increments", "lower", 0),
    MetricInfo("response_s@*", "s", "time from new images to a detector that knows them, step {}", "lower", 2),
    MetricInfo("base_s", "s", "time of the first training, or of joint training", "lower", 2),
    MetricInfo("recognised", "1", "generated images in which the old detector finds what it was asked for", "higher", 3, share=True),
    MetricInfo("kept_nbytes", "B", "kept of old classes between steps, at the end", "lower", 0),
    MetricInfo("given_away", "1", "real objects among what is kept", "lower", 0),
    MetricInfo("pool_nbytes", "B", "objects for replay, deleted afterwards", "lower", 0),
    MetricInfo("teacher_nbytes", "B", "the old detector beside the new one while it learns", "lower", 0),
    MetricInfo("memory_nbytes", "B", "memory needed at the worst moment", "lower", 0),
    MetricInfo("parameters", "1", "parameters at the end", None, 0),
    MetricInfo("dropped_images", "1", "images that belong to no step", None, 0),
)


def summarise_detection(ledger: pd.DataFrame, metrics: pd.DataFrame) -> list[Row]:
    """Return (metric, unit, value) rows of one run."""
    rows = _quality(metrics)
    computed = ledger[is_in(ledger, "kind", "compute")]
    phases = {
        phase: computed[is_in(computed, "phase", *names)]
        for phase, names in (("generation", ("generate",)), ("training", ("train",)), ("base", ("base", "joint")))
    }
    took_s = {phase: float(each["dur_s"].sum()) for phase, each in phases.items()}
    rows += [(f"{phase}_s", "s", value) for phase, value in took_s.items()]
    together_s = took_s["generation"] + took_s["training"]
    if together_s > 0:
        rows.append(("generation_share", "1", took_s["generation"] / together_s))
    for phase in ("generation", "training"):
        rows.append((f"{phase}_j", "J", float(phases[phase]["energy_j"].sum())))
        rows.append((f"{phase}_flops", "1", float(phases[phase]["flops"].sum())))
    rows += _responses(metrics)
    for name, unit in (
        ("recognised", "1"), ("kept_nbytes", "B"), ("given_away", "1"), ("pool_nbytes", "B"), ("teacher_nbytes", "B"),
        ("memory_nbytes", "B"), ("parameters", "1"), ("dropped_images", "1"),
    ):
        value = last(metrics, name)
        if not math.isnan(value):
            rows.append((name, unit, value))
    return rows


def _quality(metrics: pd.DataFrame) -> list[Row]:
    """Return APs at the end, after each step, and of each class."""
    rows: list[Row] = []
    for quality, name in QUALITY.items():
        found = named(metrics, quality)
        for group in GROUPS:
            own = found[is_in(found, "who", group)]
            if len(own) and (group == "all" or quality == "AP"):
                rows.append((f"{name}_{group}", "1", float(own["value"].iloc[-1])))
    found = named(metrics, "AP")
    for group in ("all", "base"):
        own = found[is_in(found, "who", group)]
        rows += [(f"ap_{group}@{step}", "1", float(value)) for step, value in zip(own["step"], own["value"], strict=True)]
        if group == "base" and len(own) > 1:
            rows.append(("ap_lost", "1", float(own["value"].iloc[0] - own["value"].iloc[-1])))
    classes = named(metrics, "AP_class")
    if len(classes):
        final = classes[(classes["step"] == classes["step"].max()).to_numpy(bool)]
        rows += [(f"ap_class@{who}", "1", float(value)) for who, value in zip(final["who"], final["value"], strict=True) if value >= 0]
    return rows


def _responses(metrics: pd.DataFrame) -> list[Row]:
    """Return how long each increment took from its images' arrival, which follows the end of the step before by the idle time."""
    idle, trained = named(metrics, "idle"), named(metrics, "trained")
    begins = {int(step): float(begin) + last(metrics, "idle_s") for step, begin in zip(idle["step"], idle["t_s"], strict=True)}
    return [
        (f"response_s@{int(step)}", "s", float(end) - begins[int(step)])
        for step, end in zip(trained["step"], trained["t_s"], strict=True) if int(step) in begins
    ]


REPORT = Report(
    metrics=METRICS, summarise=lambda run: summarise_detection(run.ledger, run.metrics), findings=detection_findings, extends=NETWORK,
)
