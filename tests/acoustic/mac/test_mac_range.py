"""Slots that are too short for the distances at hand are refused, not suffered in silence."""

from __future__ import annotations

import numpy as np
import pytest

from tests.acoustic.routing.conftest import finish, network, start_traffic  # noqa: F401
from toolkit.errors import ScenarioError

FAR = [(0, 0, 900), (1400, 0, 100)]
"""1610 m apart."""


@pytest.mark.parametrize("mac", ["sfama", "tdma"])
def test_who_is_heard_from_beyond_the_range_is_named(network, mac: str) -> None:  # noqa: F811
    with pytest.raises(ScenarioError, match=rf"fabric.mac.range_m: 1500 m is too little for '{mac}': 0 s .* hears node . over 16\d\d m"):
        network(FAR, [(1400, 0, 0)], {"type": "dbr"}, mac={"type": mac, "range_m": 1500.0})
    net = network(FAR, [(1400, 0, 0)], {"type": "dbr"}, mac={"type": mac, "range_m": 1700.0})
    start_traffic(net)
    assert (finish(net).query("kind == 'send'").outcome == "delivered").any()


def test_far_nodes_that_nobody_hears_are_no_matter(network) -> None:  # noqa: F811
    net = network([(0, 0, 900), (9000, 0, 900)], [(0, 0, 0)], {"type": "dbr"}, mac={"type": "sfama", "range_m": 1500.0})
    assert net.count == 3


def test_nodes_that_drift_apart_are_noticed(network) -> None:  # noqa: F811
    """Node 0 leaves at 2 m/s: after 60 s its neighbour is 1017 m away, which is more than 1000 m."""
    net = network([(0, 0, 900), (897, 0, 900)], [(400, 0, 500)], {"type": "dbr"}, mac={"type": "tdma", "range_m": 1000.0}, epoch_s=60.0)
    still = net.channel._move
    net.channel._move = lambda t_s: still(t_s) - np.array([[2.0 * t_s, 0, 0], [0, 0, 0], [0, 0, 0]])
    net.channel._ahead = (float("nan"), *net.channel._ahead[1:])  # where they would have been next
    with pytest.raises(ScenarioError, match=r"fabric.mac.range_m: 1000 m .*: 60 s after the start node 1 hears node 0 over 1017 m"):
        finish(net)
