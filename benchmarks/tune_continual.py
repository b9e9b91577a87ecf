"""Tune every continual method alike on the digits: eight settings of learning rate and the method's own strength, the same seeds.

Each setting is run with one seed, the best two with two more; the best mean of the three wins. Accuracy is that on all classes after the
last task, on a fifth of the *training* samples that is held out: the test set has no say, and no reported run has these seeds. Five tasks
of two digits, the small resnet, a memory of 50 images in bytes, `bn: concat`, six epochs a task. About a quarter of an hour of one core.

    python benchmarks/tune_continual.py [--results FILE.jsonl] [ARM …]

Results are appended to the file as they come, and what is in it is not run again. What is printed are overrides of `program`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from toolkit.core.local import run_local
from toolkit.core.work import Work
from toolkit.datasets.digits import LEVELS, load
from toolkit.learning.meter import CallCosts
from toolkit.methods.continual.program import Continual

SEEDS = (101, 102, 103)
EPOCHS = 6
FINALISTS = 2
RATES = (0.02, 0.05, 0.1, 0.2)
MORE_RATES = (0.01, 0.02, 0.035, 0.05, 0.07, 0.1, 0.15, 0.2)

Own = dict[str, Any]
STRENGTHS: dict[str, tuple[Own, ...]] = {
    "sgd": (), "joint": (), "er": (), "er_ace": (), "a_gem": (),
    "oewc": ({"strength": 10}, {"strength": 100}),
    "si": ({"strength": 0.5}, {"strength": 5}),
    "lwf": ({"alpha": 0.5}, {"alpha": 3}),
    "icarl": ({"mirrored": True}, {"mirrored": False}),
    "gem": ({"margin": 0.5}, {"margin": 0}),
    "gss": ({"subset": 10}, {"subset": 32}),
    "hal": ({"reg_weight": 0.1}, {"reg_weight": 0.3}),
    "fdr": ({"alpha": 0.3}, {"alpha": 1}),
    "der": ({"alpha": 0.3}, {"alpha": 1}),
    "derpp": ({"alpha": 0.1, "beta": 0.5}, {"alpha": 0.3, "beta": 1}),
    "cls_er": (
        {"plastic_rate": 0.9, "stable_rate": 0.1, "plastic_decay": 0.99, "stable_decay": 0.99},
        {"plastic_rate": 0.9, "stable_rate": 0.5, "plastic_decay": 0.97, "stable_decay": 0.97},
    ),
    "e2net": ({"distil": 0.05}, {"distil": 0.5}),
    "clfd-er": ({"share": 0.6}, {"share": 0.8}),
    "clfd-derpp": ({"share": 0.6}, {"share": 0.8}),
    "clfd-er_ace": ({"share": 0.6}, {"share": 0.8}),
    "clfd-cls_er": ({"share": 0.6}, {"share": 0.8}),
    "clfd-e2net": ({"share": 0.6}, {"share": 0.8}),
}
"""Own settings per arm; an arm without any gets twice as many learning rates."""
FIXED: dict[str, Own] = {"cls_er": {"plastic_rate": 0.9, "stable_rate": 0.5, "plastic_decay": 0.97, "stable_decay": 0.97}}
"""Settings of a host that CLFD goes round which do not depend on CLFD: 200 steps are few for averages made for 78,000."""


def settings(arm: str) -> Iterator[dict[str, Any]]:
    """Yield the eight overrides of `program` that *arm* is tried with."""
    name, _, host = arm.partition("-")
    around = {"host": {"type": host, **FIXED.get(host, {})}} if host else {}
    own = STRENGTHS[arm]
    for rate, strength in product(RATES if own else MORE_RATES, own or ({},)):
        yield {"lr": rate, "method": {"type": name, **around, **strength}}


def training_digits(folder: Path) -> Path:
    """Write the training samples of the digits as a file of their own, of which the reader holds a fifth out again."""
    data = load()
    levels = np.rint(data.train_images.numpy().reshape(-1, 64) * (LEVELS / 255)).astype(int)
    file = folder / "digits.csv.gz"
    with gzip.open(file, "wt", encoding="ascii") as opened:
        np.savetxt(opened, np.column_stack([levels, data.train_labels.numpy()]), fmt="%d", delimiter=",")
    return file


def accuracy(overrides: dict[str, Any], seed: int, data: Path) -> float:
    """Return the accuracy on all held-out samples after the last task, 0 where training diverged."""
    program = Continual.model_validate({
        "task": {"dataset": "digits", "path": str(data), "model": {"name": "resnet"}}, "budget": {"epochs": EPOCHS}, "drop_last": True,
        "buffer": {"images": 50, "equal": "bytes"}, **overrides,
    })
    try:
        (context,) = run_local(program.run, 1, seed)
    except (ValueError, FloatingPointError):
        return 0.0
    found = [metric.value for metric in context.metrics if metric.name == "seen_accuracy"][-1]
    return found if np.isfinite(found) else 0.0


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cli.add_argument("arms", nargs="*", default=list(STRENGTHS), metavar="ARM", help="default: all")
    cli.add_argument("--results", type=Path, default=Path("runs/tune_continual.jsonl"), help="where results are kept")
    args = cli.parse_args()
    torch.set_num_threads(1)
    CallCosts.work = lambda *_, **__: Work()  # type: ignore[method-assign] - nobody asks what these runs would cost
    args.results.parent.mkdir(parents=True, exist_ok=True)
    known: dict[tuple[str, int], float] = {}
    if args.results.exists():
        for line in args.results.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            known[row["setting"], row["seed"]] = row["accuracy"]
    with tempfile.TemporaryDirectory() as folder, args.results.open("a", encoding="utf-8") as results:
        data = training_digits(Path(folder))

        def found(overrides: dict[str, Any], seed: int) -> float:
            key = json.dumps(overrides), seed
            if key not in known:
                known[key] = accuracy(overrides, seed, data)
                results.write(json.dumps({"setting": key[0], "seed": seed, "accuracy": known[key]}) + "\n")
                results.flush()
            return known[key]

        for arm in args.arms:
            tried = sorted(settings(arm), key=lambda overrides: -found(overrides, SEEDS[0]))
            means = [float(np.mean([found(overrides, seed) for seed in SEEDS])) for overrides in tried[:FINALISTS]]
            best = int(np.argmax(means))
            edge = " (edge)" if tried[best]["lr"] in (RATES[0], RATES[-1], MORE_RATES[0]) else ""
            print(f"{arm + ':':<13} {{{_yaml(tried[best])}}}  # {100 * means[best]:.1f} % of {len(SEEDS)} seeds{edge}", flush=True)


def _yaml(tree: dict[str, Any]) -> str:
    parts = (f"{key}: {{{_yaml(value)}}}" if isinstance(value, dict) else f"{key}: {str(value).lower()}" for key, value in tree.items())
    return ", ".join(parts)


if __name__ == "__main__":
    main()
