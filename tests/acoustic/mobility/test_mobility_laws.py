"""Laws that every mobility keeps: a pure function of time, no jumps, never above the surface."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from toolkit.acoustic.environment.still_tide import StillWater
from toolkit.acoustic.mobility import Mobility
from toolkit.acoustic.mobility.anchored_drift import AnchoredDrift
from toolkit.acoustic.mobility.random_waypoint import RandomWaypoint
from toolkit.errors import ScenarioError, ToolkitError
from toolkit.laws import Law, laws_of, title
from toolkit.laws.mobility import DAY_S, RUN, Stream, homes_m, rng

HOMES_M = homes_m()


@pytest.mark.parametrize("name", Mobility.member_names())
@pytest.mark.parametrize("law", laws_of(Mobility), ids=title)
def test_law(law: Law, name: str) -> None:
    law(Mobility.find(name)())


def test_a_mobility_that_dives_below_the_bottom_is_told() -> None:
    part = AnchoredDrift()
    with pytest.raises(ToolkitError, match=r"'anchored_drift' takes node 1 to 205.50 m in water of 200 m"):
        part.watched(lambda t_s: np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 205.5]]), 200.0)(0.0)
    with pytest.raises(ScenarioError, match=r"250 m is below the bottom at fabric.layout.depth_m = 200 m"):
        RandomWaypoint(depth_range_m=(10, 250)).check(200.0)


def test_a_short_line_holds_a_node_near_its_anchor() -> None:
    """5 m above the bottom, a node swings in a circle of under 5 m; 150 m above it as if there were none."""
    homes_m = np.array([[0.0, 0.0, 195.0], [0.0, 0.0, 50.0]])
    move = AnchoredDrift(line_m=150).start(homes_m, RUN, Stream(), rng(), depth_m=200.0)
    free = AnchoredDrift(line_m=150).init(homes_m, RUN, Stream(), rng())
    places = np.array([move(t_s) for t_s in np.linspace(RUN.first_s, RUN.last_s, 50)])
    assert 3.0 < np.hypot(places[:, 0, 0], places[:, 0, 1]).max() < 5.0
    np.testing.assert_array_equal(places[:, 1], np.array([free(t_s) for t_s in np.linspace(RUN.first_s, RUN.last_s, 50)])[:, 1])


def test_a_mooring_keeps_its_length() -> None:
    """Seen from the anchor, line_m below home, the node stays on the sphere of the line, however wide a circle is asked for."""
    for radius_m in (30.0, 500.0):
        move = AnchoredDrift(radius_m=radius_m, line_m=120.0).init(HOMES_M.copy(), RUN, Stream(), rng())
        anchors_m = HOMES_M + np.array([0, 0, 120.0])
        for t_s in np.linspace(RUN.first_s, RUN.last_s, 97):
            np.testing.assert_allclose(np.linalg.norm(move(t_s) - anchors_m, axis=1), 120.0, rtol=1e-9)


def test_moorings_lean_with_the_stream_and_stand_upright_at_slack_water() -> None:
    drift = AnchoredDrift(radius_m=30, wander_m=0, set_deg=90, spread_deg=0)
    move = drift.init(HOMES_M.copy(), RUN, Stream(), rng())
    np.testing.assert_allclose(move(0.0), HOMES_M)
    np.testing.assert_allclose(move(11_178.0)[:, 1] - HOMES_M[:, 1], 30.0)
    np.testing.assert_allclose(move(-11_178.0)[:, 1] - HOMES_M[:, 1], -30.0)
    np.testing.assert_array_equal(drift.init(HOMES_M, RUN, StillWater(), rng())(11_178.0), HOMES_M)


def test_the_wander_has_the_spread_asked_for() -> None:
    move = AnchoredDrift(radius_m=0, wander_m=10).init(np.tile(HOMES_M, (10, 1)), RUN, Stream(), rng())
    offsets = np.array([move(t)[:, :2] for t in np.linspace(RUN.first_s, RUN.last_s, 200)]) - np.tile(HOMES_M, (10, 1))[:, :2]
    assert offsets.std() == pytest.approx(10, rel=0.05)


def test_travellers_stay_in_the_box_at_their_depth_and_within_their_speeds() -> None:
    walk = RandomWaypoint(speed_m_s=(0.5, 2.0), pause_s=0, width_m=1000, length_m=800)
    move = walk.init(HOMES_M.copy(), RUN, Stream(), rng())
    before = move(RUN.first_s)
    for t_s in np.arange(RUN.first_s + 10.0, RUN.first_s + 15_000.0, 10.0):
        now = move(t_s)
        assert (now[:, :2] >= 0).all()
        assert (now[:, :2] <= [1000, 800]).all()
        np.testing.assert_array_equal(now[:, 2], HOMES_M[:, 2])
        assert np.linalg.norm(now - before, axis=1).max() <= 20.0 + 1e-6
        before = now


def test_travellers_dive_within_their_range() -> None:
    move = RandomWaypoint(depth_range_m=(50, 60)).init(HOMES_M.copy(), RUN, Stream(), rng())
    depths = np.array([move(t)[:, 2] for t in np.linspace(0, RUN.last_s, 50)])
    assert depths.min() >= 50
    assert depths.max() <= 60


def test_travellers_wait_at_home_before_and_where_they_are_after() -> None:
    move = RandomWaypoint(pause_s=0).init(HOMES_M.copy(), RUN, Stream(), rng())
    np.testing.assert_array_equal(move(RUN.first_s - 5000.0), HOMES_M)
    np.testing.assert_array_equal(move(RUN.last_s + 40 * DAY_S), move(RUN.last_s + 80 * DAY_S))


def test_a_box_without_extent_keeps_its_only_node() -> None:
    move = RandomWaypoint(pause_s=0).init(HOMES_M[:1].copy(), RUN, Stream(), rng())
    np.testing.assert_array_equal(move(1000.0), HOMES_M[:1])


@pytest.mark.parametrize("fields", [{"speed_m_s": (0, 1)}, {"speed_m_s": (2, 1)}, {"depth_range_m": (60, 50)}, {"depth_range_m": (-1, 5)}])
def test_ranges_have_to_be_ordered(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="first"):
        RandomWaypoint.model_validate(fields)
