"""Small networks in calm water whose routes are known beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from toolkit.acoustic.network import SeaNetwork
from toolkit.acoustic.routing import Routing
from toolkit.core.part import Part
from toolkit.core.program import Program
from toolkit.core.world import World
from toolkit.laws.still_water import Place
from toolkit.scenario import Scenario

COLUMN: tuple[Place, ...] = ((0, 0, 900), (250, 60, 620), (60, 250, 380), (200, 120, 180), (400, 300, 500), (100, 420, 760))
"""Six nodes, each in reach of the next one."""
SINKS: tuple[Place, ...] = ((120, 120, 0), (350, 250, 0))


def network(
    positions_m: Sequence[Place], sinks_m: Sequence[Place], routing: Routing | Mapping[str, Any] | str, *, duration_s: float = 600.0,
    seed: int = 1, program: Program | Mapping[str, Any] | None = None, **fabric: Any,
) -> tuple[SeaNetwork, Scenario]:
    """Return a network of nodes at given places, and its scenario; settings are overrides of the fabric."""
    tree = {
        "name": "small", "duration_s": duration_s, "program": program or {"type": "periodic", "interval_s": 60.0},
        "fabric": {
            "type": "acoustic", "layout": {"positions_m": list(positions_m), "sink_positions_m": list(sinks_m), "depth_m": 3000},
            "modem": {"profile": "evologics_like", "source_level_db": 150}, "sea": {}, "mobility": "static",
            "shadowing": {"sigma_db": 0.0}, "fading": {"kind": "none"}, "mac": "csma", "routing": routing,
            "history_s": 36_000, "probe": {"links": 0}, **fabric,
        },
    }
    scenario = Scenario.build(tree)
    built = scenario.fabric.build(World(seed, duration_s))
    assert isinstance(built, SeaNetwork)
    return built, scenario


def start(net: SeaNetwork, program: Program) -> None:
    """Let every node do what *program* says."""
    for ctx in net.contexts:
        net.world.env.process(program.run(ctx))


def finish(net: SeaNetwork) -> pd.DataFrame:
    """Run to the end and return the ledger."""
    net.world.env.run(until=net.world.duration_s)
    net.finish()
    return net.world.ledger.charges()


def with_traffic(*where: Any, **settings: Any) -> tuple[SeaNetwork, pd.DataFrame]:
    """Build a `network`, let its nodes report, and return it with its ledger at the end."""
    net, scenario = network(*where, **settings)
    start(net, scenario.program)
    return net, finish(net)


def hurried(part: Part, **chosen: Any) -> Any:
    """Return *part* with settings for a run of minutes (beacons each minute, forecasts by the last value), as far as it has them."""
    wanted = {"prediction": "persistence", "beacon_s": 60.0, "hello_s": 60.0, **chosen}
    fields = type(part).model_fields
    kept = {key: value for key, value in part.dump().items() if key != "type"}
    return type(part).model_validate({**kept, **{key: value for key, value in wanted.items() if key in fields}})
