"""Small networks in calm water whose routes are known beforehand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from toolkit.acoustic.fabric import SeaNetwork
from toolkit.acoustic.routing import Routing
from toolkit.core.program import Process
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


def routes(rows: Any) -> list[tuple[int, int, int]]:
    """Packet, sender and next hop of every data frame sent, in order of time."""
    data = rows[(rows.kind == "tx") & (rows.phase == "data")]
    return list(zip(data.packet, data.node, data.peer, strict=True))


def settings(name: str, **chosen: Any) -> dict[str, Any]:
    """A protocol with *chosen* settings, as far as it has them; one that predicts does so by persistence unless told otherwise."""
    fields = Routing.members()[name].model_fields
    wanted = {"prediction": "persistence", "beacon_s": 60.0, "hello_s": 60.0, **chosen}
    return {"type": name, **{key: value for key, value in wanted.items() if key in fields}}


def one_by_one(net: SeaNetwork, rounds: int = 3) -> Any:
    """Every node sends a few packets, one at a time, so that the choice of the next hop alone decides the route; return the ledger."""

    def program() -> Process:
        yield net.world.env.timeout(100.0)
        for _ in range(rounds):
            for ctx in net.contexts:
                net.send(ctx.rank, -1, 64, "data")
                yield net.world.env.timeout(25.0)

    net.world.env.process(program())
    return finish(net)
