"""Laws that every mobility keeps: a pure function of time, no jumps, never above the surface."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from pydantic import ValidationError

from toolkit.acoustic.environment import Span
from toolkit.acoustic.environment.still_tide import StillWater
from toolkit.acoustic.mobility import Mobility
from toolkit.acoustic.mobility.anchored_drift import AnchoredDrift
from toolkit.acoustic.mobility.random_waypoint import RandomWaypoint
from toolkit.errors import ScenarioError, ToolkitError

DAY_S = 86_400.0
RUN = Span(datetime(2001, 7, 2, tzinfo=UTC), -DAY_S, DAY_S)
TOP_SPEED_M_S = 5.0


class Stream:
    """A semidiurnal current of amplitude one."""

    def height_m(self, t_s):
        return np.zeros(np.shape(t_s))

    def current(self, t_s):
        return np.sin(2 * np.pi * np.asarray(t_s) / 44_712.0)


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


HOMES_M = rng(0).uniform([0, 0, 0], [1000, 800, 300], (12, 3))
HOMES_M[0, 2] = 0.0  # a node at the surface


@pytest.fixture(params=Mobility.member_names())
def part(request: pytest.FixtureRequest) -> Mobility:
    return Mobility.find(request.param)()


def test_asking_twice_or_in_another_order_gives_the_same_places(part: Mobility) -> None:
    move = part.init(HOMES_M.copy(), RUN, Stream(), rng())
    again = part.init(HOMES_M.copy(), RUN, Stream(), rng())
    t_s = np.linspace(RUN.first_s, RUN.last_s, 60)
    places = [move(t).copy() for t in t_s]
    for i in rng(2).permutation(60):
        np.testing.assert_array_equal(move(t_s[i]), places[i])
        np.testing.assert_array_equal(again(t_s[i]), places[i])


def test_nobody_jumps_and_nobody_flies(part: Mobility) -> None:
    move = part.init(HOMES_M.copy(), RUN, Stream(), rng())
    before = move(RUN.first_s).copy()
    assert before.shape == HOMES_M.shape
    for t_s in np.arange(RUN.first_s + 30.0, RUN.first_s + 50_000.0, 30.0):
        now = move(t_s).copy()
        assert np.linalg.norm(now - before, axis=1).max() <= TOP_SPEED_M_S * 30.0
        assert now[:, 2].min() >= 0
        before = now


def test_nobody_sinks_below_the_bottom(part: Mobility) -> None:
    """Nodes all the way down, in water whose bottom is where the deepest of them was deployed."""
    depth_m = float(HOMES_M[:, 2].max())
    move = part.start(HOMES_M.copy(), RUN, Stream(), rng(), depth_m=depth_m)
    for t_s in np.linspace(RUN.first_s, RUN.last_s, 200):
        assert move(t_s)[:, 2].max() <= depth_m + 1e-9


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


def test_homes_are_left_as_they_were(part: Mobility) -> None:
    homes = HOMES_M.copy()
    part.init(homes, RUN, Stream(), rng())(1000.0)
    np.testing.assert_array_equal(homes, HOMES_M)


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
