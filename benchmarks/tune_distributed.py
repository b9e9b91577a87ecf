"""Tune every arm of scenarios/gs_sgd.yaml alike: the same twelve settings of momentum and learning rate, the same two seeds.

The measure is the mean training loss of the last quarter of 150 steps, so the test set has no say, and no reported run has these seeds.
Without momentum a step is a tenth as long, hence the other rates. About a quarter of an hour on two cores.

    python benchmarks/tune_distributed.py [--momentum M] [ARM …]
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
RATES = {0.9: (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0), 0.0: (0.03, 0.1, 0.3, 1.0, 3.0)}
SEEDS = (101, 102)
STEPS = 150


def final_loss(name: str, momentum: float, rate: float, seed: int) -> float:
    """Mean training loss over the last quarter of one run; infinite where it diverged."""
    scenario = Scenario.load(SCENARIO)
    tree = scenario.arms()[name].dump()
    tree["program"].update(evaluate_every=10**6, steps=STEPS, lr=rate)
    tree["program"]["method"]["momentum"] = momentum
    arm = Scenario.build(tree, SCENARIO.parent)
    fabric: Any = arm.fabric
    try:
        contexts = run_local(arm.program.run, fabric.workers, seed, servers=fabric.servers, collectives=fabric.collectives)
    except ValueError:  # NaN in a gradient is refused by the selection of the largest
        return float("inf")
    losses = [metric.value for metric in contexts[0].metrics if metric.name == "train_loss"]
    value = float(np.mean(losses[-len(losses) // 4:]))
    return value if np.isfinite(value) else float("inf")


def main(arguments: list[str]) -> None:
    momenta = tuple(RATES)
    if arguments[:1] == ["--momentum"]:
        momenta, arguments = (float(arguments[1]),), arguments[2:]
    names = [name for name in Scenario.load(SCENARIO).compare if not arguments or name in arguments]
    settings = [(momentum, rate) for momentum in momenta for rate in RATES[momentum]]
    cases = [(name, *setting, seed) for name, setting, seed in product(names, settings, SEEDS)]
    losses = Parallel(n_jobs=len(os.sched_getaffinity(0)))(delayed(final_loss)(*case) for case in cases)
    found = dict(zip(cases, losses, strict=True))
    print("mean training loss of the last quarter, by momentum and learning rate")
    print(f"{'arm':<18}" + "".join(f"{f'{momentum:g}/{rate:g}':>11}" for momentum, rate in settings) + f"{'best':>11}")
    for name in names:
        means = [float(np.mean([found[name, *setting, seed] for seed in SEEDS])) for setting in settings]
        momentum, rate = settings[int(np.argmin(means))]
        edge = " (edge)" if rate in {RATES[momentum][0], RATES[momentum][-1]} else ""
        best = f"{momentum:g}/{rate:g}"
        print(f"{name:<18}" + "".join(f"{mean:>11.4g}" for mean in means) + f"{best:>11}{edge}")


if __name__ == "__main__":
    main(sys.argv[1:])
