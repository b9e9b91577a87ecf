"""Small federations for tests."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd
import pytest
import torch

from tests.cluster.helpers import FREE, LINK
from toolkit.cluster.network import ClusterNetwork
from toolkit.core.context import Asking
from toolkit.core.world import World
from toolkit.methods.federated.server import Server
from toolkit.scenario import Scenario

DEVICE = {**FREE, "memory_bytes": 10**9}
SLOW = {**DEVICE, "peak_flops_per_s": 1e9, "memory_bytes_per_s": 1e8}
MODEL = {"name": "mlp", "options": {"hidden": [16]}}
COHORTS = {"fedavg": {"sampled": 3}, "fedprox": {"sampled": 3}, "fedasync": {"concurrency": 3}, "fedbuff": {"concurrency": 3, "buffer": 2},
           "local_only": {}}


def federation(program: str = "fedavg", clients: int = 6, fabric: dict[str, Any] | None = None, **settings: Any) -> Scenario:
    """A star of equal clients round a server; *settings* are the program's."""
    tree: dict[str, Any] = {
        "name": "test",
        "fabric": {
            "type": "cluster", "workers": clients, "servers": 1, "device": DEVICE, "topology": {"type": "star", "link": LINK},
            **(fabric or {}),
        },
        "program": {
            "type": program, "task": {"dataset": "digits", "model": MODEL}, "rounds": 3, "batch": 16, **COHORTS[program], **settings,
        },
    }
    return Scenario.build(tree)


def run(spec: Scenario, seed: int = 1) -> tuple[World, ClusterNetwork]:
    spec.check()
    world = World(seed, float("inf"))
    network: Any = spec.fabric.build(world)
    world.env.run(until=network.launch(spec.program))
    network.finish()
    return world, network


def observed(world: World, name: str) -> list[float]:
    metrics = world.ledger.metrics()
    found: list[float] = metrics[metrics["name"] == name]["value"].tolist()
    return found


def told(world: World, name: str) -> dict[str, float]:
    metrics = world.ledger.metrics()
    rows = metrics[metrics["name"] == name]
    return dict(zip(rows["who"], rows["value"], strict=True))


def rows(world: World, kind: str, *phases: str) -> pd.DataFrame:
    charges = world.ledger.charges()
    return charges[(charges["kind"] == kind) & (charges["phase"].isin(phases) if phases else True)]


def errands(world: World) -> Counter[str]:
    """What became of all errands."""
    found = Counter({name: int(observed(world, name)[0]) for name in ("sent_out", "aggregated", "under_way")})
    found.update({reason: int(count) for reason, count in told(world, "dropped").items()})
    return found


def final_weights(spec: Scenario, monkeypatch: pytest.MonkeyPatch, seed: int = 1) -> torch.Tensor:
    """Run *spec* and return the server's model."""
    kept: list[torch.Tensor] = []
    finish = Server.finish

    def keeping(self: Server) -> Asking:
        kept.append(self.weights.clone())
        yield from finish(self)

    with monkeypatch.context() as patch:
        patch.setattr(Server, "finish", keeping)
        run(spec, seed)
    return kept[0]
