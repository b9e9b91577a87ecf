"""What a distillation came to: quality by steps of sampling, what learning it cost, and what an image costs from then on."""

from __future__ import annotations

import pandas as pd

from toolkit.analysis.metric import MetricInfo
from toolkit.analysis.report import Report, Row
from toolkit.analysis.rows import is_in, last, named
from toolkit.cluster.report import NETWORK
from toolkit.methods.diffusion.findings import diffusion_findings

QUALITY = ("clf_fid", "fid", "projected_fid", "kid", "precision", "recall")
METRICS = (
    MetricInfo("clf_fid@*", "1", "clf-FID at {} steps", "lower", 3, headline=True),
    MetricInfo("fid@*", "1", "FID (Inception) at {} steps", "lower", 3, headline=True),
    MetricInfo("projected_fid@*", "1", "Fréchet distance of projected pixels at {} steps", "lower", 4),
    MetricInfo("kid@*", "1", "KID at {} steps", "lower", 4),
    MetricInfo("precision@*", "1", "1-NN precision at {} steps", "higher", 3, share=True),
    MetricInfo("recall@*", "1", "1-NN recall at {} steps", "higher", 3, share=True),
    MetricInfo("clf_fid_floor", "1", "clf-FID of half of the real images", None, 4),
    MetricInfo("projected_fid_floor", "1", "projected distance of half of the real images", None, 4),
    MetricInfo("distil_s", "s", "time of distilling", "lower", 3, headline=True),
    MetricInfo("distil_j", "J", "energy of distilling", "lower", 2),
    MetricInfo("latency_s@*", "s", "time per image, {} (steps, batch)", "lower", 6),
    MetricInfo("energy_j@*", "J", "energy per image, {} (steps, batch)", "lower", 6),
    MetricInfo("parameters", "1", "parameters", None, 0),
    MetricInfo("queue_nbytes", "B", "memory of the queue", "lower", 0),
)


def summarise_diffusion(ledger: pd.DataFrame, metrics: pd.DataFrame) -> list[Row]:
    """Return (metric, unit, value) rows of one run; ``latency_s@4_1`` is of four steps, one image at a time."""
    rows: list[Row] = []
    for name in QUALITY:
        found = named(metrics, name)
        rows += [(f"{name}@{who}", "1", float(value)) for who, value in zip(found["who"], found["value"], strict=True)]
    rows += [(name, "1", last(metrics, name)) for name in ("clf_fid_floor", "projected_fid_floor", "parameters")]
    rows.append(("queue_nbytes", "B", last(metrics, "queue_nbytes")))
    computed = ledger[is_in(ledger, "kind", "compute")]
    distilled = computed[is_in(computed, "phase", "distil", "teach")]
    rows += [("distil_s", "s", float(distilled["dur_s"].sum())), ("distil_j", "J", float(distilled["energy_j"].sum()))]
    for phase, group in computed[computed["phase"].astype(str).str.startswith("sample_").to_numpy(bool)].groupby("phase", observed=True):
        key = str(phase).removeprefix("sample_")
        images = int(key.rpartition("_")[2]) * len(group)
        rows += [
            (f"latency_s@{key}", "s", float(group["dur_s"].sum()) / images),
            (f"energy_j@{key}", "J", float(group["energy_j"].sum()) / images),
        ]
    return rows


REPORT = Report(
    metrics=METRICS, summarise=lambda run: summarise_diffusion(run.ledger, run.metrics), findings=diffusion_findings, extends=NETWORK,
)
