from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from toolkit.acoustic.phy.fading import FastFading, Shadowing


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def series(shadowing: Shadowing, n: int, dt_s: float, steps: int) -> np.ndarray:
    """All pairs of *n* nodes over time, (steps, pairs)."""
    state = shadowing.init(n, rng())
    upper = np.triu_indices(n, 1)
    return np.array([state.step(dt_s)[upper] for _ in range(steps)])


def test_shadowing_is_symmetric_without_a_self_term() -> None:
    state = Shadowing().init(6, rng())
    for dt_s in (0.0, 60.0, 1e6):
        matrix = state.step(dt_s)
        assert matrix.shape == (6, 6)
        np.testing.assert_array_equal(matrix, matrix.T)
        np.testing.assert_array_equal(np.diag(matrix), 0)


def test_shadowing_is_stationary_from_the_first_call() -> None:
    first = series(Shadowing(sigma_db=3), 300, 1.0, 1)  # 44,850 pairs
    assert first.std() == pytest.approx(3, rel=0.02)
    later = series(Shadowing(sigma_db=3), 300, 100.0, 5)[-1]
    assert later.std() == pytest.approx(3, rel=0.02)
    assert abs(later.mean()) < 0.06


def test_shadowing_autocorrelation_decays_exponentially() -> None:
    x = series(Shadowing(sigma_db=2, correlation_s=300), 150, 60.0, 8)  # 11,175 pairs
    for lag in range(1, 8):
        measured = np.mean(x[0] * x[lag]) / 4
        assert measured == pytest.approx(np.exp(-60 * lag / 300), abs=0.04)
    assert np.exp(-60 / 300) == pytest.approx(0.8187, abs=5e-5)


def test_shadowing_follows_its_recursion() -> None:
    shadowing = Shadowing(sigma_db=2, correlation_s=300)
    x = series(shadowing, 3, 60.0, 2)
    z = rng().standard_normal((2, 3))
    rho = np.exp(-0.2)
    np.testing.assert_allclose(x[0], 2 * z[0])
    np.testing.assert_allclose(x[1], rho * 2 * z[0] + np.sqrt(1 - rho**2) * 2 * z[1])


def test_no_time_no_change_and_a_long_time_forgets() -> None:
    state = Shadowing().init(4, rng())
    before = state.step(10.0)
    np.testing.assert_array_equal(state.step(0.0), before)
    z = rng().standard_normal((3, 6))
    np.testing.assert_allclose(state.step(1e9)[np.triu_indices(4, 1)], 2 * z[2])


def test_random_numbers_used_depend_on_the_steps_alone() -> None:
    ends = []
    for sigma_db, dt_s in ((0.0, 0.0), (2.0, 60.0), (4.0, 1e9)):
        generator = rng()
        state = Shadowing(sigma_db=sigma_db).init(5, generator)
        for _ in range(3):
            state.step(dt_s)
        ends.append(generator.random())
    generator = rng()
    generator.standard_normal((3, 10))
    assert ends == [generator.random()] * 3


def test_no_sigma_no_shadowing() -> None:
    assert not Shadowing(sigma_db=0).init(5, rng()).step(1.0).any()


@pytest.mark.parametrize("n", [0, 1])
def test_without_pairs(n: int) -> None:
    assert Shadowing().init(n, rng()).step(1.0).shape == (n, n)


def test_time_does_not_run_backwards() -> None:
    with pytest.raises(ValueError, match="backwards"):
        Shadowing().init(2, rng()).step(-1.0)


@pytest.mark.parametrize("bad", [{"sigma_db": -1}, {"correlation_s": 0}, {"sigma": 2}])
def test_shadowing_refuses(bad: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Shadowing.model_validate(bad)


@pytest.mark.parametrize(
    ("fading", "variance"),
    # the variance of a Rician power gain of mean 1 is (1 + 2K)/(1 + K)^2; Rayleigh is K = 0
    [
        (FastFading(kind="none"), 0.0),
        (FastFading(kind="rayleigh"), 1.0),
        (FastFading(kind="rician", k_db=-30), 1.0),
        (FastFading(kind="rician", k_db=0), 0.75),
        (FastFading(kind="rician", k_db=10), 21 / 121),
    ],
)
def test_power_gains_have_mean_one(fading: FastFading, variance: float) -> None:
    gains = fading.power_gains(rng(), 200_000)
    assert (gains >= 0).all()
    assert gains.mean() == pytest.approx(1, abs=0.01)
    assert gains.var() == pytest.approx(variance, abs=0.03)


@pytest.mark.parametrize("kind", ["none", "rician", "rayleigh"])
def test_gains_have_the_shape_asked_for(kind: str) -> None:
    fading = FastFading.model_validate({"kind": kind})
    assert fading.power_gains(rng(), (3, 4)).shape == (3, 4)
    assert fading.power_gains(rng(), 5).shape == (5,)
    np.testing.assert_array_equal(fading.power_gains(rng(), 5), fading.power_gains(rng(), 5))
