"""What one training came to: what was learnt, what learning it cost, and what an image costs from then on."""

from __future__ import annotations

import pandas as pd

from toolkit.analysis.metric import MetricInfo
from toolkit.analysis.report import Report, Row
from toolkit.analysis.rows import last
from toolkit.methods.training.findings import training_findings

PREFIX = "inference_"

TRAINING_METRICS: tuple[MetricInfo, ...] = (
    MetricInfo("final_accuracy", "1", "final test accuracy", "higher", 4, headline=True, share=True),
    MetricInfo("final_loss", "1", "final test loss", "lower", 4),
    MetricInfo("parameters", "1", "parameters", None, 0, headline=True),
    MetricInfo("multiply_adds", "1", "multiply-adds per image", None, 0),
    MetricInfo("peak_activation_bytes", "B", "peak of activations, one image", "lower", 0),
    MetricInfo("kernels@*", "1", "kernels of one inference, batch {}", None, 0),
    MetricInfo("latency_s@*", "s", "time per image, batch {}", "lower", 6, headline=True),
    MetricInfo("energy_j@*", "J", "energy per image, batch {}", "lower", 6, headline=True),
    MetricInfo("training_s", "s", "time of training", "lower", 2, headline=True),
    MetricInfo("training_j", "J", "energy of training", "lower", 1),
    MetricInfo("accuracy_per_kiloparameter", "1", "accuracy per thousand parameters", "higher", 5),
    MetricInfo("accuracy_per_j", "1/J", "accuracy per joule of training", "higher", 6),
    MetricInfo("accuracy_per_ms", "1/ms", "accuracy per millisecond of one inference, batch 1", "higher", 4),
    MetricInfo("accuracy_per_mj", "1/mJ", "accuracy per millijoule of one inference, batch 1", "higher", 4),
)


def summarise_training(ledger: pd.DataFrame, metrics: pd.DataFrame) -> list[Row]:
    """Return (metric, unit, value) rows of one run; the rows of the ledger's phases are all that enters times and energies.

    The accuracies per cost are ratios of this run's own numbers. The energy of an image is what the machine draws while it works on it.
    """
    accuracy, loss = (last(metrics, name) for name in ("test_accuracy", "test_loss"))
    sizes = {name: last(metrics, name) for name in ("parameters", "multiply_adds", "peak_activation_bytes")}
    computed = ledger[(ledger["kind"] == "compute").to_numpy(bool)]
    trained = computed[(computed["phase"] == "gradient").to_numpy(bool)]
    training_s, training_j = float(trained["dur_s"].sum()), float(trained["energy_j"].sum())
    rows: list[Row] = [("final_accuracy", "1", accuracy), ("final_loss", "1", loss)]
    rows += [(name, "B" if name.endswith("bytes") else "1", value) for name, value in sizes.items()]
    kernels = metrics[(metrics["name"] == "kernels").to_numpy(bool)]
    rows += [(f"kernels@{who}", "1", float(value)) for who, value in zip(kernels["who"], kernels["value"], strict=True)]
    rows += [("training_s", "s", training_s), ("training_j", "J", training_j)]
    per_image: dict[int, tuple[float, float]] = {}
    used = computed[computed["phase"].astype(str).str.startswith(PREFIX).to_numpy(bool)]
    for phase, group in used.groupby("phase", observed=True):
        batch = int(str(phase).removeprefix(PREFIX))
        images = batch * len(group)
        per_image[batch] = float(group["dur_s"].sum()) / images, float(group["energy_j"].sum()) / images
    for batch, (latency_s, energy_j) in sorted(per_image.items()):
        rows += [(f"latency_s@{batch}", "s", latency_s), (f"energy_j@{batch}", "J", energy_j)]
    if sizes["parameters"] > 0:
        rows.append(("accuracy_per_kiloparameter", "1", 1e3 * accuracy / sizes["parameters"]))
    if training_j > 0:
        rows.append(("accuracy_per_j", "1/J", accuracy / training_j))
    if 1 in per_image:
        latency_s, energy_j = per_image[1]
        rows += [("accuracy_per_ms", "1/ms", accuracy / (1e3 * latency_s)), ("accuracy_per_mj", "1/mJ", accuracy / (1e3 * energy_j))]
    return rows


REPORT = Report(metrics=TRAINING_METRICS, summarise=lambda run: summarise_training(run.ledger, run.metrics), findings=training_findings)
