"""Small networks in calm water whose routes are known beforehand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from toolkit.acoustic.fabric import SeaNetwork
from toolkit.core.world import World
from toolkit.scenario import Scenario


@pytest.fixture
def network() -> Callable[..., SeaNetwork]:
    """Build a network of nodes at given places; settings are overrides of the fabric."""

    def build(
        positions_m: list, sinks_m: list, routing: Any, *, duration_s: float = 600.0, seed: int = 1, **fabric: Any
    ) -> SeaNetwork:
        tree = {
            "name": "small", "duration_s": duration_s, "program": {"type": "periodic", "interval_s": 60.0},
            "fabric": {
                "type": "acoustic", "layout": {"positions_m": positions_m, "sink_positions_m": sinks_m, "depth_m": 3000},
                "modem": {"profile": "evologics_like", "source_level_db": 150}, "sea": {}, "mobility": "static",
                "shadowing": {"sigma_db": 0.0}, "fading": {"kind": "none"}, "mac": "csma", "routing": routing,
                "history_s": 36_000, "probe": {"links": 0}, **fabric,
            },
        }
        scenario = Scenario.build(tree)
        world = World(seed, duration_s)
        net = scenario.fabric.build(world)
        net.scenario = scenario  # type: ignore[attr-defined]
        return net

    return build


def start_traffic(net: SeaNetwork) -> None:
    for ctx in net.contexts:
        net.world.env.process(net.scenario.program.run(ctx))  # type: ignore[attr-defined]


def finish(net: SeaNetwork) -> Any:
    net.world.env.run(until=net.world.duration_s)
    net.finish()
    return net.world.ledger.charges()
