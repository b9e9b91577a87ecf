"""Which learning rate suits each arm of scenarios/federated.yaml: test loss at a quarter of the rounds, on a seed that is not shown.

python benchmarks/tune_federated.py: three rates, less than a CPU-minute; the best of each arm has a star.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toolkit.core.world import World
from toolkit.scenario import Scenario, replaced

SCENARIO = Path(__file__).parents[1] / "scenarios" / "federated.yaml"
RATES = (0.03, 0.1, 0.3)
SEEDS = (101,)


def loss_of(arm: Scenario, rate: float, seed: int) -> float:
    program: Any = arm.program
    tree = replaced(arm.dump(), "program.lr", rate)
    for name, value in (("rounds", max(1, program.rounds // 4)), ("evaluate_every", 10**6)):
        tree = replaced(tree, f"program.{name}", value)
    spec = Scenario.build(tree)
    world = World(seed, float("inf"))
    network: Any = spec.fabric.build(world)
    world.env.run(until=network.launch(spec.program))
    metrics = world.ledger.metrics()
    return float(metrics[metrics["name"] == "test_loss"]["value"].iloc[-1])


def main() -> None:
    for name, arm in Scenario.load(SCENARIO).arms().items():
        found = {}
        for rate in RATES:
            try:
                found[rate] = sum(loss_of(arm, rate, seed) for seed in SEEDS) / len(SEEDS)
            except Exception as error:  # whatever diverges is no candidate
                print(f"  {name} at {rate:g}: {error}")
        best = min(found, key=found.__getitem__)
        print(f"{name:18}", *(f"{rate:g}: {loss:.3f}{'*' * (rate == best)}" for rate, loss in found.items()), sep="  ", flush=True)


if __name__ == "__main__":
    main()
