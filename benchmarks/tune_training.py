"""Tune every arm of scenarios/hcgnet_edge.yaml alike: the same three learning rates, the same seed, four epochs.

The measure is the mean training loss of the last epoch, so the test set has no say, and no reported run has this seed. About three minutes
on one core.

    python benchmarks/tune_training.py [--scenario FILE] [ARM …]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from toolkit.core.local import run_local
from toolkit.errors import ScenarioError
from toolkit.scenario import Scenario

SCENARIO = Path(__file__).parents[1] / "scenarios" / "hcgnet_edge.yaml"
RATES = (0.03, 0.1, 0.3)
SEEDS = (101,)
EPOCHS = 4


def final_loss(scenario: Scenario, name: str, rate: float, seed: int) -> float:
    """Mean training loss of the last epoch of one run; infinite where it diverged."""
    tree = scenario.arms()[name].dump()
    tree["program"]["evaluate_every"] = 10**6
    tree["program"]["recipe"].update(lr=rate, epochs=EPOCHS, first_epochs=EPOCHS)
    arm = Scenario.build(tree, SCENARIO.parent)
    try:
        contexts = run_local(arm.program.run, 1, seed)
    except ScenarioError:
        return float("inf")
    return [metric.value for metric in contexts[0].metrics if metric.name == "train_loss"][-1]


def main(arguments: list[str]) -> None:
    file = SCENARIO
    if arguments[:1] == ["--scenario"]:
        file, arguments = Path(arguments[1]), arguments[2:]
    scenario = Scenario.load(file)
    print("mean training loss of the last epoch, by learning rate")
    print(f"{'arm':<18}" + "".join(f"{rate:>10g}" for rate in RATES) + f"{'best':>10}")
    for name in scenario.compare:
        if arguments and name not in arguments:
            continue
        means = [float(np.mean([final_loss(scenario, name, rate, seed) for seed in SEEDS])) for rate in RATES]
        best = RATES[int(np.argmin(means))]
        edge = " (edge)" if best in {RATES[0], RATES[-1]} else ""
        print(f"{name:<18}" + "".join(f"{mean:>10.4g}" for mean in means) + f"{best:>10g}{edge}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
