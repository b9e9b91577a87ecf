"""Averages, lines and small Kalman filters against their closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.acoustic.prediction.feeding import after, ask, fed
from toolkit.acoustic.prediction.ewma import Ewma
from toolkit.acoustic.prediction.harmonic_ls import PERIODS_S, HarmonicLs
from toolkit.acoustic.prediction.holt import Holt
from toolkit.acoustic.prediction.kalman_level import KalmanLevel
from toolkit.acoustic.prediction.kalman_trend import KalmanTrend
from toolkit.acoustic.prediction.linear_regression import LinearRegression, line_weights
from toolkit.acoustic.prediction.moving_average import MovingAverage, moving_means

NAN = math.nan


def noisy(n: int, seed: int = 0) -> np.ndarray:
    return 10 + np.random.default_rng(seed).standard_normal(n)


def test_a_moving_average_by_hand() -> None:
    part = MovingAverage(window=3)
    assert after(part, [9.0, 1.0, 2.0, 6.0], 5).mean_db == 3.0
    assert after(part, [9.0, 1.0, NAN, 6.0], 1).mean_db == 3.5
    assert after(part, [9.0, 1.0], 1).mean_db == 5.0
    np.testing.assert_allclose(moving_means(np.array([NAN, 4.0, 8.0, NAN, NAN, 2.0]), 2), [NAN, 4.0, 6.0, 8.0, NAN, 2.0])


def test_the_spread_of_an_average_is_that_of_its_past_errors() -> None:
    """On white noise of variance 1 the mean of W cells errs by sqrt(1 + 1/W)."""
    forecast = after(MovingAverage(window=4), noisy(500), 3)
    assert forecast.std_db == pytest.approx(math.sqrt(1.25), rel=0.1)


def test_holt_by_hand() -> None:
    part = Holt(alpha=0.5, beta=0.25, damping=0.8, carry=False)
    level, slope = 4.0, 0.0
    for value in (8.0, 7.0):
        before = level
        level = 0.5 * value + 0.5 * (before + 0.8 * slope)
        slope = 0.25 * (level - before) + 0.75 * 0.8 * slope
    assert after(part, [4.0, 8.0, 7.0], 3).mean_db == pytest.approx(level + (0.8 + 0.64 + 0.512) * slope)


def test_holt_takes_its_own_forecast_for_a_missing_cell() -> None:
    part = Holt(alpha=0.5, beta=0.25, damping=0.8, carry=False)
    values = noisy(40)
    expected = after(part, values, 1).mean_db
    filled = after(part, [*values, expected, 12.0], 2).mean_db
    assert after(part, [*values, NAN, 12.0], 2).mean_db == pytest.approx(filled)


def test_holt_without_a_slope_is_an_exponential_average() -> None:
    values = noisy(60)
    holt, ewma = (after(part, values, 7) for part in (Holt(alpha=0.3, beta=0.0), Ewma(alpha=0.3)))
    assert holt.mean_db == pytest.approx(ewma.mean_db)
    assert holt.std_db == pytest.approx(ewma.std_db)


@pytest.mark.parametrize("ahead", [1, 12])
def test_a_regression_line_is_that_of_polyfit(ahead: int) -> None:
    values = noisy(80)
    slope, base = np.polyfit(np.arange(24), values[-24:], 1)
    assert after(LinearRegression(window=24, carry=False), values, ahead).mean_db == pytest.approx(base + slope * (23 + ahead))
    assert line_weights(24, ahead).sum() == pytest.approx(1.0)


@pytest.mark.parametrize("part", [
    LinearRegression(window=10), Holt(alpha=0.9, beta=0.9, damping=1.0), KalmanTrend(slope_step_db=0.1), KalmanTrend(slope_step_db=0.0),
])
def test_a_straight_line_is_drawn_on(part) -> None:
    assert after(part, 5 + 0.25 * np.arange(400), 8).mean_db == pytest.approx(5 + 0.25 * 407, abs=0.02)


def test_a_level_filter_settles_to_an_exponential_average() -> None:
    """P = (q + sqrt(q^2 + 4 q r)) / 2 before a measurement, and the gain is P / (P + r)."""
    q, r = 0.5**2, 2.0**2
    before = (q + math.sqrt(q * q + 4 * q * r)) / 2
    values = noisy(300)
    part = KalmanLevel(level_step_db=0.5, noise_db=2.0)
    average = Ewma(alpha=before / (before + r), carry=False)
    assert after(part, values, 1).mean_db == pytest.approx(after(average, values, 1).mean_db, abs=1e-6)


def test_a_level_that_never_moves_is_the_mean() -> None:
    values = noisy(50)
    assert after(KalmanLevel(level_step_db=0.0), values, 4).mean_db == pytest.approx(values.mean(), abs=1e-3)


def test_a_trend_that_never_changes_is_the_line_through_all_cells() -> None:
    """With a wide prior the filter is recursive least squares of a line on time."""
    values = 0.3 * np.arange(60) + noisy(60)
    slope, base = np.polyfit(np.arange(60), values, 1)
    found = after(KalmanTrend(level_step_db=0.0, slope_step_db=0.0), values, 6)
    assert found.mean_db == pytest.approx(base + slope * 65, abs=0.02)
    assert found.std_db == pytest.approx(1.05, rel=0.2)


@pytest.mark.parametrize("part", [KalmanLevel(level_step_db=0.4, noise_db=1.0), KalmanTrend(level_step_db=0.4, noise_db=1.0)])
def test_filters_know_how_fast_they_lose_track(part) -> None:
    """On the model's own process the spread at h is sqrt(P + h q + r), times a scale near 1; a gap makes it wider."""
    rng = np.random.default_rng(3)
    values = 10 + np.cumsum(0.4 * rng.standard_normal(500)) + rng.standard_normal(500)
    near, far = (after(part, values, ahead).std_db for ahead in (1, 24))
    assert near == pytest.approx(1.3, rel=0.2)
    assert far > 1.5 * near
    gap = [*values[:-10], *[NAN] * 9, values[-1]]
    assert after(part, gap, 1).std_db > near


def test_harmonic_least_squares_draws_the_tide_on() -> None:
    t_s = np.arange(2000) * 1800.0
    values = 12 + sum(a * np.cos(2 * np.pi * t_s / p + a) for a, p in zip((3, 1, 0.5, 0.7, 2, 0.4), PERIODS_S, strict=True))
    holed = values[:1900].copy()
    holed[500:700] = NAN
    part = HarmonicLs(ridge=0.0)
    state = fed(part, holed)
    for ahead in (1, 48, 100):
        assert ask(part, state, 1900, ahead).mean_db == pytest.approx(values[1899 + ahead], abs=1e-3)


def test_harmonic_least_squares_is_plain_least_squares() -> None:
    values = noisy(24 * 30) + 3 * np.sin(np.arange(24 * 30) / 7)
    part = HarmonicLs(periods_s=(79_200.0,), ridge=0.0, carry=False)
    cells = np.arange(24 * 29)  # what is settled before the last block of 24 cells
    angle = 2 * np.pi * cells / 44
    basis = np.stack([np.ones(len(cells)), np.cos(angle), np.sin(angle)], axis=1)
    found, *_ = np.linalg.lstsq(basis, values[: len(cells)], rcond=None)
    target = 24 * 30 + 4
    expected = found @ [1.0, math.cos(2 * np.pi * target / 44), math.sin(2 * np.pi * target / 44)]
    assert after(part, values, 5).mean_db == pytest.approx(expected, abs=1e-6)
