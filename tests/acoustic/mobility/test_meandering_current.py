"""The meandering jet: no divergence, its stream function, a point by hand, and what its trajectories conserve."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.acoustic.mobility.test_mobility_laws import RUN, Stream, rng
from toolkit.acoustic.environment import Span
from toolkit.acoustic.mobility.meandering_current import MeanderingCurrent

JET = MeanderingCurrent()
STEP = 1e-4


def points() -> tuple[np.ndarray, np.ndarray]:
    dice = rng(7)
    return dice.uniform(-10, 10, 2000), dice.uniform(-3, 3, 2000)


@pytest.mark.parametrize("t", [0.0, 2.7, 41.0])
def test_the_water_neither_gathers_nor_thins(t: float) -> None:
    x, y = points()
    du_dx = (JET.velocity(x + STEP, y, t)[0] - JET.velocity(x - STEP, y, t)[0]) / (2 * STEP)
    dv_dy = (JET.velocity(x, y + STEP, t)[1] - JET.velocity(x, y - STEP, t)[1]) / (2 * STEP)
    np.testing.assert_allclose(du_dx + dv_dy, 0, atol=1e-6)
    assert np.abs(du_dx).max() > 0.1, "each of the two alone does vary"


@pytest.mark.parametrize("t", [0.0, 2.7, 41.0])
def test_velocity_is_the_derivative_of_the_stream_function(t: float) -> None:
    x, y = points()
    u, v = JET.velocity(x, y, t)
    np.testing.assert_allclose(u, -(JET.stream(x, y + STEP, t) - JET.stream(x, y - STEP, t)) / (2 * STEP), atol=1e-7)
    np.testing.assert_allclose(v, (JET.stream(x + STEP, y, t) - JET.stream(x - STEP, y, t)) / (2 * STEP), atol=1e-7)


def test_a_point_by_hand() -> None:
    """At x = y = t = 0: B = 1.5, k B = 1.5 * 2 pi / 7.5 = 1.2566, D = sqrt(1 + 1.5791) = 1.6060, so u = 1 / D and v = k B / D."""
    u, v = JET.velocity(np.array([0.0]), np.array([0.0]), 0.0)
    assert float(u[0]) == pytest.approx(0.62268, abs=1e-5)
    assert float(v[0]) == pytest.approx(0.78248, abs=1e-5)
    # a quarter of a wave on, on the crest: no slope, so D = 1, and the water runs along x at full speed
    u, v = JET.velocity(np.array([7.5 / 4]), np.array([1.5]), 0.0)
    assert float(u[0]) == pytest.approx(1.0)
    assert float(v[0]) == pytest.approx(0.0, abs=1e-12)
    # one unit beside the crest: sech^2(1) = 0.41997
    assert float(JET.velocity(np.array([7.5 / 4]), np.array([2.5]), 0.0)[0][0]) == pytest.approx(1 / math.cosh(1) ** 2)


def test_a_steady_meander_is_followed() -> None:
    """Seen from the meander, a jet that does not swell is steady: psi + c y is conserved along every trajectory."""
    jet = MeanderingCurrent(swell=0.0)
    home = np.stack(points(), axis=1)[:60]
    track = jet._trace(home, 60.0 * jet.speed_m_s / jet.scale_m, 1440)
    seen = [jet.stream(place[:, 0], place[:, 1], i * 0.018) + jet.phase_speed * place[:, 1] for i, place in enumerate(track)]
    np.testing.assert_allclose(np.array(seen), np.broadcast_to(seen[0], (1441, 60)), atol=1e-6)
    assert np.linalg.norm(track[-1] - home, axis=1).max() > 5


def test_nodes_are_at_home_at_time_zero_and_float_with_the_water() -> None:
    homes = rng(1).uniform([0, 0, 0], [2000, 2000, 400], (40, 3))
    move = JET.init(homes.copy(), Span(RUN.origin, -7200.0, 7200.0), Stream(), rng(5))
    np.testing.assert_allclose(move(0.0), homes, atol=1e-6)
    for t_s in (-7200.0, -3000.0, 3000.0, 7200.0):
        np.testing.assert_array_equal(move(t_s)[:, 2], homes[:, 2])
    speed = np.linalg.norm(move(60.0) - move(0.0), axis=1) / 60.0
    assert speed.max() <= 1.05 * JET.speed_m_s, "next to a bent axis the water may be a little faster than on it"
    assert speed.max() > 0.9 * JET.speed_m_s
    assert (move(7200.0)[:, 0] - move(-7200.0)[:, 0]).mean() > 500, "the jet runs towards larger x"
