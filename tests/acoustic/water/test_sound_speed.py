from __future__ import annotations

import numpy as np
import pytest

from toolkit.acoustic.water.sound_speed import mackenzie


@pytest.mark.parametrize(
    ("water", "expected", "error"),
    [((25, 35, 1000), 1550.744, 5.1e-4), ((27, 35, 10), 1539.09, 5.1e-3), ((10, 35, 0), 1489.80, 5.1e-3)],
)
def test_reference_values(water: tuple[float, float, float], expected: float, error: float) -> None:
    assert mackenzie(*water) == pytest.approx(expected, abs=error)


def test_scalars_give_floats_and_arrays_broadcast() -> None:
    assert isinstance(mackenzie(10, 35, 0), float)
    speeds = mackenzie([5, 10], 35, np.array([[0.0], [100.0], [1000.0]]))
    assert speeds.shape == (3, 2)
    assert speeds[2, 1] == mackenzie(10, 35, 1000)


def test_agrees_with_the_equation_of_state() -> None:
    """TEOS-10, an independent formula, at points of the open ocean within Mackenzie's range."""
    gsw = pytest.importorskip("gsw")
    temperature_c = np.array([2.0, 4.0, 10.0, 15.0, 20.0, 25.0, 30.0, 10.0])
    salinity_ppt = np.array([34.7, 34.9, 35.0, 35.0, 36.0, 35.0, 34.0, 30.0])
    depth_m = np.array([4000.0, 2000.0, 500.0, 200.0, 100.0, 50.0, 0.0, 10.0])
    latitude, longitude = 30.0, -40.0
    pressure_dbar = gsw.p_from_z(-depth_m, latitude)
    absolute = gsw.SA_from_SP(salinity_ppt, pressure_dbar, longitude, latitude)
    expected = gsw.sound_speed_t_exact(absolute, temperature_c, pressure_dbar)
    np.testing.assert_allclose(mackenzie(temperature_c, salinity_ppt, depth_m), expected, atol=0.5, rtol=0)
