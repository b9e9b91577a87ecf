"""What a run says of its sea and its nodes, which reports draw: held against the sea itself."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from toolkit.acoustic.network import SeaNetwork
from toolkit.core.world import World
from toolkit.scenario import Scenario

HOUR_S = 3600.0


def described() -> tuple[SeaNetwork, pd.DataFrame]:
    spec = Scenario.build({
        "name": "sea", "seeds": 1, "duration_s": 2 * HOUR_S,
        "fabric": {
            "type": "acoustic", "layout": {"nodes": 5, "sinks": 2, "width_m": 2000, "length_m": 1000, "depth_m": 100},
            "sea": {
                "wind": {"type": "synthetic_wind"},
                "noise": ["surface_noise", {"type": "daily_noise", "hours": [0, 24], "level_db": 70, "position_m": [0, 0]}],
            },
            "mobility": {"type": "static"}, "mac": "aloha", "routing": {"type": "flooding"}, "history_s": HOUR_S, "epoch_s": 600,
        },
        "program": {"type": "poisson", "interval_s": 200.0, "nbytes": 60},
    })
    world = World(3, 2 * HOUR_S)
    network = spec.fabric.build(world)
    network.launch(spec.program)
    return network, world.ledger.metrics()


def test_weather_is_written_down_every_half_hour_from_the_beginning_of_the_history() -> None:
    network, metrics = described()
    for name, water in (("wind_m_s", network.water.wind_m_s), ("tide_m", network.water.tide.height_m)):
        rows = metrics[metrics["name"] == name]
        assert rows["t_s"].tolist() == [-HOUR_S, -1800.0, 0.0, 1800.0, 3600.0, 5400.0, 7200.0]
        assert rows["value"].to_numpy() == pytest.approx(water(rows["t_s"].to_numpy()))
    assert metrics[metrics["name"] == "wind_m_s"]["value"].nunique() > 1


def test_the_noise_that_is_written_down_is_that_in_the_middle_of_the_network() -> None:
    network, metrics = described()
    rows = metrics[metrics["name"] == "noise_psd_db"]
    middle_m = np.mean([network.channel.position_m[node.id] for node in network.nodes], axis=0)
    expected = [network.water.noise_psd_db(t_s, middle_m[None])[0] for t_s in rows["t_s"]]
    assert rows["value"].to_numpy() == pytest.approx(np.array(expected))
    elsewhere = network.water.noise_psd_db(0.0, middle_m[None] + 500.0)[0]
    assert abs(expected[2] - elsewhere) > 0.1


def test_nodes_are_where_the_channel_has_them() -> None:
    network, metrics = described()
    for node in network.nodes:
        own = metrics[(metrics["who"] == str(node.id)) & (metrics["t_s"] == 0)].set_index("name")["value"]
        assert own[["x_m", "y_m", "depth_m"]].tolist() == network.channel.position_m[node.id].tolist()
        assert own["is_sink"] == float(node.is_sink)
