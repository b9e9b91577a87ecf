"""Random walk and Gauss-Markov drift against the moments of their laws."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from tests.acoustic.mobility.test_mobility_laws import HOMES_M, RUN, Stream, rng
from toolkit.acoustic.environment import Span
from toolkit.acoustic.mobility import Box
from toolkit.acoustic.mobility.gauss_markov import GaussMarkov
from toolkit.acoustic.mobility.random_walk import RandomWalk

MIDDLE_M = np.tile([5e5, 5e5, 500.0], (400, 1))
WIDE = {"width_m": 1e6, "length_m": 1e6}  # no wall is ever met from the middle


def test_reflection_is_a_mirror() -> None:
    box = Box(np.array([0.0, 10.0, 5.0]), np.array([100.0, 20.0, 5.0]))
    free_m = np.array([[30.0, 12.0, 7.0], [130.0, 23.0, 5.0], [-30.0, 8.0, 0.0], [330.0, 31.0, 9.0], [100.0, 10.0, 5.0]])
    expected_m = [[30.0, 12.0, 5.0], [70.0, 17.0, 5.0], [30.0, 12.0, 5.0], [70.0, 11.0, 5.0], [100.0, 10.0, 5.0]]
    np.testing.assert_allclose(box.reflect(free_m), expected_m)


def test_a_walk_spreads_like_diffusion() -> None:
    """The mean square distance after n legs is n leg^2 E[v^2]; with speeds even in [a, b], E[v^2] = (a^2 + ab + b^2) / 3."""
    walk = RandomWalk(speed_m_s=(0.2, 0.8), leg_s=100.0, **WIDE)
    move = walk.init(MIDDLE_M.copy(), RUN, Stream(), rng())
    mean_square = (0.04 + 0.16 + 0.64) / 3
    for legs in (1, 10, 100, 800):
        gone_m = move(RUN.first_s + 100.0 * legs) - MIDDLE_M
        assert (gone_m[:, :2] ** 2).sum(axis=1).mean() == pytest.approx(legs * 1e4 * mean_square, rel=0.15)
        assert (gone_m[:, 2] == 0).all()


def test_a_walk_keeps_its_direction_for_a_leg() -> None:
    move = RandomWalk(leg_s=100.0, **WIDE).init(MIDDLE_M[:50].copy(), RUN, Stream(), rng())
    at = [move(RUN.first_s + t) for t in (0, 40, 100, 140)]
    np.testing.assert_allclose((at[1] - at[0]) / 40, (at[2] - at[0]) / 100, atol=1e-9)
    assert not np.allclose((at[3] - at[2]) / 40, (at[2] - at[0]) / 100)


def test_walkers_stay_in_the_box() -> None:
    move = RandomWalk(speed_m_s=(1, 2), vertical_m_s=0.5).init(HOMES_M.copy(), RUN, Stream(), rng())
    places = np.array([move(t) for t in np.linspace(RUN.first_s, RUN.last_s, 500)])
    assert (places >= HOMES_M.min(axis=0) - 1e-9).all()
    assert (places <= HOMES_M.max(axis=0) + 1e-9).all()
    assert places.std(axis=0)[:, 2].min() > 20, "they dive"


@pytest.fixture(scope="module")
def velocity() -> np.ndarray:
    """(time, node, axis) velocities of a Gauss-Markov drift far from all walls, read off the positions."""
    drift = GaussMarkov(mean_m_s=(0.2, -0.1, 0.0), std_m_s=(0.3, 0.4, 0.05), memory_s=500.0, step_s=50.0, depth_range_m=(0, 1e6), **WIDE)
    homes = MIDDLE_M.copy()
    homes[:, 2] = 5e5
    move = drift.init(homes, Span(RUN.origin, 0.0, 20_000.0), Stream(), rng(3))
    places = np.array([move(t) for t in np.arange(0.0, 20_001.0, 50.0)])
    return np.diff(places, axis=0) / 50.0


def test_drift_has_the_mean_and_variance_asked_for(velocity: np.ndarray) -> None:
    np.testing.assert_allclose(velocity.mean(axis=(0, 1)), [0.2, -0.1, 0.0], atol=0.01)
    np.testing.assert_allclose(velocity.std(axis=(0, 1)), [0.3, 0.4, 0.05], rtol=0.02)


def test_drift_is_stationary_from_the_beginning(velocity: np.ndarray) -> None:
    for moment in (0, 5, 40, 399):
        np.testing.assert_allclose(velocity[moment].std(axis=0), [0.3, 0.4, 0.05], rtol=0.12)


def test_drift_forgets_exponentially(velocity: np.ndarray) -> None:
    centred = velocity - np.array([0.2, -0.1, 0.0])
    variance = np.array([0.3, 0.4, 0.05]) ** 2
    for lag in (1, 4, 10, 20, 40):
        correlation = (centred[lag:] * centred[:-lag]).mean(axis=(0, 1)) / variance
        np.testing.assert_allclose(correlation, np.exp(-lag * 50.0 / 500.0), atol=0.03)


def test_the_components_are_independent(velocity: np.ndarray) -> None:
    correlation = np.corrcoef(velocity.reshape(-1, 3).T)
    np.testing.assert_allclose(correlation, np.eye(3), atol=0.03)


def test_drift_stays_in_the_box() -> None:
    move = GaussMarkov(mean_m_s=(1.0, 0, 0), depth_range_m=(10, 250)).init(HOMES_M.copy(), RUN, Stream(), rng())
    places = np.array([move(t) for t in np.linspace(RUN.first_s, RUN.last_s, 500)])
    assert places[:, :, 2].min() >= 10
    assert places[:, :, 2].max() <= 250
    assert places[:, :, 0].max() <= HOMES_M[:, 0].max() + 1e-9


@pytest.mark.parametrize(("part", "fields", "says"), [
    (RandomWalk, {"speed_m_s": (2, 1)}, "slower first"), (GaussMarkov, {"std_m_s": (0.1, -0.1, 0)}, "greater than or equal to 0"),
    (GaussMarkov, {"depth_range_m": (50, 10)}, "shallower first"),
])
def test_nonsense_is_refused(part: type, fields: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        part.model_validate(fields)
