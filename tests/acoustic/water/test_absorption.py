from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.acoustic.water.absorption import ainslie_mccolm, francois_garrison, thorp

FULL = {"francois_garrison": francois_garrison, "ainslie_mccolm": ainslie_mccolm}


@pytest.mark.parametrize(
    ("f_khz", "expected"),
    [(1, 0.0690), (5, 0.3823), (10, 1.1870), (12, 1.6448), (20, 4.1338), (25, 6.1048), (26, 6.5265), (30, 8.2804), (0.1, 0.0032)],
)
def test_thorp_reference_values(f_khz: float, expected: float) -> None:
    assert thorp(f_khz) == pytest.approx(expected, abs=5.1e-5)


@pytest.mark.parametrize(("f_khz", "expected"), [(50, 17.467), (100, 34.069)])
def test_thorp_at_high_frequencies(f_khz: float, expected: float) -> None:
    assert thorp(f_khz) == pytest.approx(expected, abs=5.1e-4)


def test_thorp_changes_branch_at_400_hz() -> None:
    f2 = 0.4**2
    assert thorp(0.4) == pytest.approx(0.11 * f2 / (1 + f2) + 44 * f2 / (4100 + f2) + 2.75e-4 * f2 + 0.003, rel=1e-12)
    assert thorp(0.39999) == pytest.approx(0.002 + 0.11 * f2 / (1 + f2) + 0.011 * f2, rel=1e-4)


@pytest.mark.parametrize(("f_khz", "expected", "digits"), [(10, 0.950, 3), (25, 4.928, 3), (50, 15.18, 2)])
def test_francois_garrison_reference_values(f_khz: float, expected: float, digits: int) -> None:
    assert francois_garrison(f_khz, 10, 35, 100, 8) == pytest.approx(expected, abs=0.51 * 10.0**-digits)


def test_francois_garrison_in_warm_water() -> None:
    # the case documented by arlpy: 1 km at 50 kHz, 27 C, 35 ppt, 10 m, pH 8.1
    assert francois_garrison(50, 27, 35, 10, 8.1) == pytest.approx(10.71, abs=0.0051)


def test_francois_garrison_is_continuous_at_20_degrees() -> None:
    below, above = francois_garrison(100, np.array([20.0, 20.0001]), 35, 10, 8)
    assert below == pytest.approx(above, rel=1e-3)


@pytest.mark.parametrize(("f_khz", "expected", "digits"), [(10, 0.973, 3), (25, 5.027, 3), (50, 15.46, 2)])
def test_ainslie_mccolm_reference_values(f_khz: float, expected: float, digits: int) -> None:
    assert ainslie_mccolm(f_khz, 10, 35, 100, 8) == pytest.approx(expected, abs=0.51 * 10.0**-digits)


def test_the_two_full_formulas_agree_in_the_sea() -> None:
    f_khz, temperature_c, depth_m = np.meshgrid([10.0, 25.0, 50.0], [5.0, 10.0, 20.0], [10.0, 500.0])
    one = francois_garrison(f_khz, temperature_c, 35.0, depth_m, 8.0)
    other = ainslie_mccolm(f_khz, temperature_c, 35.0, depth_m, 8.0)
    np.testing.assert_allclose(other, one, rtol=0.10)


def test_the_two_full_formulas_agree_on_boric_acid() -> None:
    """At a few kHz, where it is most of the loss, from the Baltic to the Red Sea and for every acidity that seas have."""
    f_khz, salinity_ppt, ph = np.meshgrid([0.5, 1.0, 2.0], [10.0, 20.0, 30.0, 34.0, 36.0, 41.0], [7.7, 7.9, 8.1, 8.3])
    one = francois_garrison(f_khz, 10.0, salinity_ppt, 100.0, ph)
    other = ainslie_mccolm(f_khz, 10.0, salinity_ppt, 100.0, ph)
    np.testing.assert_allclose(other, one, rtol=0.05)


@pytest.mark.parametrize("name", FULL)
def test_absorption_has_no_steps_and_rises_with_salt_and_alkalinity(name: str) -> None:
    """From 5 to 41 ppt, and from pH 7.7 to 8.3, in small steps."""
    for f_khz in (1.0, 5.0, 25.0):
        by_salt = FULL[name](f_khz, 10.0, np.arange(5.0, 41.0, 0.1), 100.0, 8.0)
        by_ph = FULL[name](f_khz, 10.0, 35.0, 100.0, np.arange(7.7, 8.3, 0.01))
        for levels in (by_salt, by_ph):
            steps = np.diff(levels)
            assert (steps > 0).all()
            assert steps.max() < 0.05 * levels.mean()


@settings(deadline=None)  # shared machines stall
@given(st.floats(0.4, 200), st.floats(1.001, 3), st.tuples(st.floats(0, 30), st.floats(5, 40), st.floats(0, 5000)))
def test_absorption_rises_with_frequency(f_khz: float, step: float, water: tuple[float, float, float]) -> None:
    assert 0 < thorp(f_khz) < thorp(f_khz * step)
    for formula in FULL.values():
        low, high = formula(np.array([f_khz, f_khz * step]), *water, 8.0)
        assert 0 < low < high


@pytest.mark.parametrize("name", FULL)
def test_scalars_give_floats_and_arrays_broadcast(name: str) -> None:
    formula = FULL[name]
    assert isinstance(formula(25, 10, 35, 100, 8), float)
    table = formula(np.array([10.0, 25.0]), np.array([[5.0], [10.0], [25.0]]), 35, 100, 8)
    assert table.shape == (3, 2)
    assert table[2, 1] == pytest.approx(formula(25.0, 25.0, 35.0, 100.0, 8.0), rel=1e-14)


def test_thorp_takes_lists() -> None:
    assert isinstance(thorp(25), float)
    np.testing.assert_array_equal(thorp([0.1, 25]), [thorp(0.1), thorp(25.0)])
