from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.acoustic.water.noise import add_levels_db, shipping_db, thermal_db, turbulence_db, wenz, wind_db

TOTALS = [
    (10, 0, 29.35), (10, 5, 46.09), (10, 10, 53.04), (10, 15, 58.37),
    (25, 0, 22.31), (25, 5, 38.55), (25, 10, 45.48), (25, 15, 50.81),
    (50, 0, 20.71), (50, 5, 32.84), (50, 10, 39.64),
    (100, 0, 25.13), (100, 5, 28.94), (100, 10, 34.20),
]  # fmt: skip


@pytest.mark.parametrize(("f_khz", "wind_m_s", "expected"), TOTALS)
def test_reference_values(f_khz: float, wind_m_s: float, expected: float) -> None:
    assert wenz(f_khz, wind_m_s, 0.5) == pytest.approx(expected, abs=0.0051)


def test_terms_at_one_khz() -> None:
    assert turbulence_db(1) == 17
    assert thermal_db(1) == -15
    assert shipping_db(1, 0.5) == pytest.approx(40 - 60 * np.log10(1.03), rel=1e-12)
    assert wind_db(1, 4) == pytest.approx(65 - 40 * np.log10(1.4), rel=1e-12)
    assert wenz(1, 4, 0.5) == pytest.approx(add_levels_db([17, shipping_db(1, 0.5), wind_db(1, 4), -15]), rel=1e-12)


def test_shipping_counts_at_low_frequencies_only() -> None:
    def swing(f_khz: float) -> float:
        return wenz(f_khz, 0, 1) - wenz(f_khz, 0, 0)

    assert swing(25) < 0.05
    assert swing(1) == pytest.approx(6, abs=0.2)
    assert swing(0.1) == pytest.approx(19.5, abs=0.05)


def test_shapes() -> None:
    assert isinstance(wenz(25, 5, 0.5), float)
    assert isinstance(wind_db(25, 5), float)
    assert wenz(np.array([10.0, 25.0]), np.array([[0.0], [5.0], [10.0]]), 0.5).shape == (3, 2)


def test_powers_add_and_not_decibels() -> None:
    assert add_levels_db([48, 48]) == pytest.approx(51.01, abs=0.0051)
    assert add_levels_db([48, 48]) == pytest.approx(48 + 10 * np.log10(2), rel=1e-14)


def test_levels_add_along_an_axis() -> None:
    levels = np.array([[10.0, 20.0, 30.0], [10.0, 20.0, -np.inf]])
    np.testing.assert_allclose(add_levels_db(levels, axis=0), [10 + 10 * np.log10(2), 20 + 10 * np.log10(2), 30])
    assert add_levels_db(levels).shape == (2,)


def test_silence_adds_nothing() -> None:
    assert add_levels_db([48, -np.inf]) == 48
    assert add_levels_db([-np.inf, -np.inf]) == -np.inf
    assert add_levels_db([-4000, -4000]) == pytest.approx(-4000 + 10 * np.log10(2))


@settings(deadline=None)  # shared machines stall
@given(st.lists(st.floats(-50, 200), min_size=1, max_size=6), st.floats(-50, 50))
def test_a_sum_is_at_least_its_loudest_and_shifts_with_all(levels: list[float], shift_db: float) -> None:
    total = add_levels_db(levels)
    assert max(levels) - 1e-9 <= total <= max(levels) + 10 * np.log10(len(levels)) + 1e-9
    assert add_levels_db(np.array(levels) + shift_db) == pytest.approx(total + shift_db, abs=1e-9)


@settings(deadline=None)  # shared machines stall
@given(st.floats(0.01, 200), st.floats(0, 30), st.floats(0, 10))
def test_more_wind_is_more_noise(f_khz: float, wind_m_s: float, more: float) -> None:
    assert wenz(f_khz, wind_m_s + more, 0.5) >= wenz(f_khz, wind_m_s, 0.5) - 1e-12
