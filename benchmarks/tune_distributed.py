"""Tune the learning rate of every arm of scenarios/gs_sgd.yaml alike: the same seven rates, the same two seeds, which no run reports.

The measure is the mean training loss of the last quarter of the steps, so the test set has no say. About ten minutes on two cores.

    python benchmarks/tune_distributed.py [ARM …]
"""

from __future__ import annotations

import os
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from toolkit.core.local import run_local
from toolkit.scenario import Scenario

SCENARIO = Path(__file__).parents[1] / "scenarios" / "gs_sgd.yaml"
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
SEEDS = (101, 102)
STEPS = 150


def final_loss(name: str, rate: float, seed: int) -> float:
    """Mean training loss over the last quarter of one run; infinite where it diverged."""
    tree = Scenario.load(SCENARIO).dump()
    tree["compare"][name]["program.lr"] = rate
    tree["program"].update(evaluate_every=10**6, steps=STEPS)
    arm = Scenario.build(tree, SCENARIO.parent).arms()[name]
    fabric: Any = arm.fabric
    try:
        contexts = run_local(arm.program.run, fabric.workers, seed, servers=fabric.servers, collectives=fabric.collectives)
    except ValueError:  # NaN in a gradient is refused by the selection of the largest
        return float("inf")
    losses = [metric.value for metric in contexts[0].metrics if metric.name == "train_loss"]
    value = float(np.mean(losses[-len(losses) // 4:]))
    return value if np.isfinite(value) else float("inf")


def main(chosen: list[str]) -> None:
    names = [name for name in Scenario.load(SCENARIO).compare if not chosen or name in chosen]
    cases = list(product(names, RATES, SEEDS))
    losses = Parallel(n_jobs=len(os.sched_getaffinity(0)))(delayed(final_loss)(*case) for case in cases)
    found = dict(zip(cases, losses, strict=True))
    print("mean training loss of the last quarter, by learning rate")
    print(f"{'arm':<18}" + "".join(f"{rate:>10g}" for rate in RATES) + f"{'best':>10}")
    for name in names:
        means = [float(np.mean([found[name, rate, seed] for seed in SEEDS])) for rate in RATES]
        best = RATES[int(np.argmin(means))]
        edge = " (edge)" if best in {RATES[0], RATES[-1]} else ""
        print(f"{name:<18}" + "".join(f"{mean:>10.4f}" for mean in means) + f"{best:>10g}{edge}")


if __name__ == "__main__":
    main(sys.argv[1:])
