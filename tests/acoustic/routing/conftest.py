"""Small networks in calm water whose routes are known beforehand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from toolkit.acoustic.network import SeaNetwork
from toolkit.acoustic.routing import Routing
from toolkit.core.program import Process
from toolkit.laws import small_sea
from toolkit.laws.small_sea import finish

__all__ = ["finish", "network", "one_by_one", "routes", "settings", "start_traffic"]


@pytest.fixture
def network() -> Callable[..., SeaNetwork]:
    """Build a network of nodes at given places; settings are overrides of the fabric."""

    def build(*where: Any, **settings: Any) -> SeaNetwork:
        net, scenario = small_sea.network(*where, **settings)
        net.scenario = scenario  # type: ignore[attr-defined]
        return net

    return build


def start_traffic(net: SeaNetwork) -> None:
    small_sea.start(net, net.scenario.program)  # type: ignore[attr-defined]


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
