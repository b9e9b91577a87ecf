from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from toolkit.acoustic.phy import modulation
from toolkit.acoustic.phy.modulation import BIT_ERROR_RATES, Modulation, expected_per, packet_error_rate, success_table

EBN0_DB = np.random.default_rng(5).uniform(-35, 85, 5000)


def linear(level_db: float | np.ndarray) -> float | np.ndarray:
    return 10 ** (level_db / 10)


def test_every_name_has_its_formula() -> None:
    assert set(get_args(Modulation)) == {*BIT_ERROR_RATES, "threshold", "threshold_sinr"}
    assert all(getattr(modulation, name) is function for name, function in BIT_ERROR_RATES.items())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bpsk", 3.872e-6),
        ("qpsk", 3.872e-6),
        ("fsk_noncoherent", 3.369e-3),
        ("dpsk", 2.27e-5),
        ("bpsk_rayleigh", 2.327e-2),
        ("bpsk_rician", 7.01e-4),
        ("fsk_noncoherent_rayleigh", 1 / 12),
    ],
)
def test_bit_error_rates_at_ten_db(name: str, expected: float) -> None:
    assert BIT_ERROR_RATES[name](10.0) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "level_db", "expected"),
    [
        ("bpsk", 6, 0.706), ("bpsk", 7, 0.327), ("bpsk", 8, 0.0931), ("bpsk", 9, 0.0171), ("bpsk", 10, 0.0020),
        ("fsk_noncoherent", 10, 0.822), ("fsk_noncoherent", 12, 0.0885), ("fsk_noncoherent", 13, 0.0118),
    ],
)  # fmt: skip
def test_packet_error_rates_of_512_bits(name: str, level_db: float, expected: float) -> None:
    # the last digit of the reference is a rounded one
    error = 5.1e-4 if expected > 0.1 else 5.1e-5
    assert packet_error_rate(BIT_ERROR_RATES[name](linear(level_db)), 512) == pytest.approx(expected, abs=error)


def test_known_distances_between_the_curves() -> None:
    g = linear(np.linspace(-10, 15, 50))
    np.testing.assert_allclose(modulation.fsk_coherent(2 * g), modulation.bpsk(g), rtol=1e-12)
    np.testing.assert_allclose(modulation.fsk_noncoherent(2 * g), modulation.dpsk(g), rtol=1e-12)


@pytest.mark.parametrize("name", BIT_ERROR_RATES)
def test_bits_are_coin_flips_without_signal_and_improve_with_it(name: str) -> None:
    ber = BIT_ERROR_RATES[name]
    assert ber(0.0) == pytest.approx(0.5)
    rates = ber(linear(np.linspace(-30, 25, 200)))
    assert rates.shape == (200,)
    assert (np.diff(rates) < 0).all()
    assert ((rates >= 0) & (rates <= 0.5)).all()


def fade_average(name: str, g: float) -> float:
    """The mean over an exponentially distributed power gain, by quadrature."""
    return quad(lambda x: float(BIT_ERROR_RATES[name](g * x)) * np.exp(-x), 0, np.inf, epsabs=1e-10)[0]


@pytest.mark.parametrize("level_db", [-10, 0, 10])
def test_rayleigh_is_the_average_over_its_fading(level_db: float) -> None:
    g = float(linear(level_db))
    assert modulation.bpsk_rayleigh(g) == pytest.approx(fade_average("bpsk", g), rel=1e-6)
    assert modulation.fsk_noncoherent_rayleigh(g) == pytest.approx(fade_average("fsk_noncoherent", g), rel=1e-6)


@pytest.mark.parametrize("k_db", [0, 3, 10])
@pytest.mark.parametrize("level_db", [-20, 0, 10, 30])
def test_rician_integral(k_db: float, level_db: float) -> None:
    k, g = float(linear(k_db)), float(linear(level_db))

    def integrand(theta: float) -> float:
        a = (1 + k) * np.sin(theta) ** 2
        return a / (a + g) * np.exp(-k * g / (a + g)) / np.pi

    exact = quad(integrand, 0, np.pi / 2, epsabs=0, epsrel=1e-11, limit=200)[0]
    assert modulation.bpsk_rician(g, k_db) == pytest.approx(exact, rel=1e-8)


def test_rician_lies_between_rayleigh_and_no_fading() -> None:
    g = linear(np.linspace(-10, 10, 21))
    np.testing.assert_allclose(modulation.bpsk_rician(g, -60), modulation.bpsk_rayleigh(g), rtol=1e-5)
    np.testing.assert_allclose(modulation.bpsk_rician(g, 60), modulation.bpsk(g), rtol=1e-3)


def test_rayleigh_keeps_its_digits() -> None:
    assert modulation.bpsk_rayleigh(1e12) == pytest.approx(0.25e-12, rel=1e-9)


def test_packet_error_rate_keeps_its_digits() -> None:
    assert packet_error_rate(1e-20, 100) == pytest.approx(1e-18, rel=1e-12)
    assert packet_error_rate(0.5, 1) == 0.5
    assert packet_error_rate(0.1, 0) == 0
    np.testing.assert_allclose(packet_error_rate([0.0, 0.25], [[1], [2]]), [[0, 0.25], [0, 0.4375]])


@settings(deadline=None)  # shared machines stall
@given(st.floats(0, 0.5), st.integers(0, 5000), st.integers(0, 5000))
def test_packets_in_a_row_succeed_together(ber: float, bits: int, more: int) -> None:
    both = (1 - packet_error_rate(ber, bits)) * (1 - packet_error_rate(ber, more))
    assert 1 - packet_error_rate(ber, bits + more) == pytest.approx(both, abs=1e-12)


@pytest.mark.parametrize("bits", [64, 512, 4096])
@pytest.mark.parametrize("gain_db", [0.0, 4.0])
@pytest.mark.parametrize("name", BIT_ERROR_RATES)
def test_table_agrees_with_the_formula(name: str, gain_db: float, bits: int) -> None:
    table = success_table(name, gain_db)
    exact = packet_error_rate(BIT_ERROR_RATES[name](linear(EBN0_DB + gain_db)), bits)
    np.testing.assert_allclose(table.per(EBN0_DB, bits), exact, atol=1e-4, rtol=0)


@pytest.mark.parametrize("bits", [64, 512, 4096])
@pytest.mark.parametrize("threshold_db", [8.0, -3.21, 10.03])
def test_threshold_table_is_a_step(threshold_db: float, bits: int) -> None:
    table = success_table("threshold", 2.0, threshold_db=threshold_db)
    away = np.append(EBN0_DB[np.abs(EBN0_DB + 2 - threshold_db) > 0.006], [threshold_db - 2, threshold_db - 2.006])
    np.testing.assert_allclose(table.per(away, bits), modulation.threshold(away + 2, threshold_db), atol=1e-50, rtol=0)


def test_threshold_decodes_at_its_threshold() -> None:
    np.testing.assert_array_equal(modulation.threshold([7.999, 8.0, 8.001]), [1, 0, 0])


def test_reading_a_table_is_as_documented() -> None:
    table = success_table("fsk_noncoherent")
    n = len(table.log_rate)
    for x in (-100.0, -30.0, 7.03, 11.111, 79.999, 200.0):
        p = min(max((x - table.low_db) / table.step_db, 0), n - 1)
        i = min(int(p), n - 2)
        w = p - i
        r = np.exp((1 - w) * table.log_rate[i] + w * table.log_rate[i + 1])
        assert table.per(x, 512) == pytest.approx(-np.expm1(-512 * r), rel=1e-12)
    assert isinstance(table.per(7.0, 512), float)
    assert table.per(np.zeros((2, 1)), np.array([8, 64, 512])).shape == (2, 3)


def test_a_table_knows_silence_and_the_ends() -> None:
    table = success_table("bpsk")
    assert (table.low_db, table.step_db) == (-30.0, 0.05)
    assert table.log_rate.dtype == np.float64
    assert np.isfinite(table.log_rate).all()
    assert table.per(-np.inf, 512) == 1
    assert table.per(np.inf, 512) < 1e-290


def test_tables_are_built_once() -> None:
    assert success_table("bpsk", 3.0) is success_table("bpsk", 3.0)


def test_a_coding_gain_shifts_the_curve() -> None:
    np.testing.assert_allclose(success_table("bpsk", 4.0).per(4.0, 512), success_table("bpsk").per(8.0, 512), rtol=1e-9)


def test_expected_per_of_an_uncertain_prediction() -> None:
    table = success_table("bpsk")
    assert table.per(10.0, 512) == pytest.approx(0.002, abs=5e-5)
    assert expected_per(table, 10.0, 2.0, 512) == pytest.approx(0.066, abs=0.003)
    assert expected_per(table, 10.0, 2.0, 512) == pytest.approx(0.0641, abs=5.1e-5)
    assert table.per(8.0, 512) == pytest.approx(0.093, abs=5.1e-4)
    assert expected_per(table, 8.0, 2.0, 512) == pytest.approx(0.265, abs=0.004)


@pytest.mark.parametrize(("mean_db", "expected"), [(8.0, 0.26494), (10.0, 0.06599)])
def test_expected_per_converges_to_the_integral(mean_db: float, expected: float) -> None:
    table = success_table("bpsk")
    z = np.linspace(-10, 10, 20_001)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    exact = np.trapezoid(density * table.per(mean_db + 2 * z, 512), z)
    assert exact == pytest.approx(expected, abs=2e-5)
    assert expected_per(table, mean_db, 2.0, 512, points=101) == pytest.approx(exact, abs=2e-4)


def test_expected_per_without_spread_is_the_point_value_and_broadcasts() -> None:
    table = success_table("dpsk")
    mean_db = np.linspace(0, 15, 7)
    np.testing.assert_allclose(expected_per(table, mean_db, 0.0, 512), table.per(mean_db, 512), rtol=1e-12)
    values = expected_per(table, mean_db, np.array([[0.5], [3.0]]), 512)
    assert values.shape == (2, 7)
    assert values[1, 3] == pytest.approx(expected_per(table, mean_db[3], 3.0, 512), rel=1e-12)
    assert isinstance(expected_per(table, 8.0, 2.0, 512), float)
