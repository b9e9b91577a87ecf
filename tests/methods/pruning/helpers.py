"""Small prunings for the tests: a little LeNet on the enlarged digits, a few epochs, few masks."""

from __future__ import annotations

from typing import Any

import pandas as pd

from toolkit.cluster.fabric import Cluster
from toolkit.core.ledger import Ledger
from toolkit.core.local import run_local
from toolkit.core.world import World
from toolkit.methods.pruning.program import Pruning

SMALL: dict[str, Any] = {
    "task": {"dataset": "digits28", "model": {"name": "lenet5", "options": {"filters": [6, 8], "hidden": 20}}},
    "samples": {"train": 400, "validation": 150, "test": 150},
    "pruner": {"type": "genetic", "population": 8, "initial_rate": 0.3, "mutation_rate": 0.08, "patience": None},
    "rounds": 1, "evaluations": 40, "dense_epochs": 3, "fine_tune_epochs": 1, "control": False, "calibration": 64,
}
BOARDS = ("raspberry_pi_4", "raspberry_pi_5", "jetson_nano", "jetson_nano_5w")


def program(**settings: Any) -> Pruning:
    return Pruning.model_validate({**SMALL, **settings})


def cluster(workers: int, **settings: Any) -> Cluster:
    devices = {f"worker{rank}": BOARDS[rank % len(BOARDS)] for rank in range(1, workers)}
    return Cluster.model_validate({"workers": workers, "device": "raspberry_pi_5", "node_devices": devices, **settings})


def simulate(spec: Cluster, what: Pruning, seed: int = 1) -> Ledger:
    """Run *what* on *spec* to its end; return the ledger."""
    what.check(spec)
    world = World(seed, float("inf"))
    network = spec.build(world)
    world.env.run(until=network.launch(what))
    network.finish()
    return world.ledger


def locally(what: Pruning, workers: int, seed: int = 1) -> pd.DataFrame:
    contexts = run_local(what.run, workers, seed, collectives=cluster(workers).collectives)
    return pd.DataFrame([metric for ctx in contexts for metric in ctx.metrics])


def values(metrics: pd.DataFrame, name: str) -> list[float]:
    return [float(value) for value in metrics.loc[metrics["name"] == name, "value"]]
