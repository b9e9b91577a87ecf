from __future__ import annotations

import numpy as np
import pytest

from toolkit.acoustic.phy.modem import Modem
from toolkit.acoustic.phy.modulation import bpsk, packet_error_rate
from toolkit.acoustic.water.absorption import thorp
from toolkit.acoustic.water.noise import wenz
from toolkit.acoustic.water.propagation import source_level_db, spreading_loss_db, transmission_loss_db


def snr_db(level_db: float, distance_m: float | np.ndarray, wind_m_s: float) -> float | np.ndarray:
    """SNR of the reference link: 25 kHz, 5 kHz wide, practical spreading, half the shipping."""
    noise_db = wenz(25, wind_m_s, 0.5) + 10 * np.log10(5000)
    return level_db - transmission_loss_db(distance_m, 1.5, thorp(25)) - noise_db


def test_spreading() -> None:
    assert spreading_loss_db(1000, 1) == 30
    assert spreading_loss_db(1000, 1.5) == 45
    np.testing.assert_allclose(spreading_loss_db([1, 10, 100], 2), [0, 20, 40])
    assert isinstance(spreading_loss_db(10, 2), float)


def test_nothing_is_nearer_than_one_metre() -> None:
    assert spreading_loss_db(0, 2) == 0
    np.testing.assert_array_equal(transmission_loss_db(np.array([0.0, 0.5, 1.0]), 1.5, 6.0), np.full(3, 0.006))


def test_loss_at_a_kilometre() -> None:
    assert transmission_loss_db(1000, 1.5, thorp(25)) == pytest.approx(51.10, abs=0.0051)


def test_source_level() -> None:
    assert source_level_db(1) == 170.8
    assert source_level_db(2) == pytest.approx(173.8, abs=0.011)
    assert source_level_db(10, 3) == pytest.approx(183.8)


@pytest.mark.parametrize(
    ("distance_m", "expected", "error"),
    # the reference gives 36.6 dB at 2 km; the formula gives 36.537
    [(100, 67.7, 0.051), (500, 54.7, 0.051), (1000, 47.2, 0.051), (2000, 36.537, 5e-4), (3000, 27.8, 0.051)],
)
def test_two_acoustic_watts_make_every_short_link_perfect(distance_m: float, expected: float, error: float) -> None:
    assert snr_db(173.8, distance_m, 5) == pytest.approx(expected, abs=error)


@pytest.mark.parametrize(
    ("level_db", "ranges_m"),
    [
        (130, [1892, 550, 251, 125]),
        (136, [2554, 950, 499, 273]),
        (150, [4294, 2299, 1570, 1088]),
        (173.8, [7585, 5306, 4375, 3686]),
    ],
)
def test_range_at_ten_db(level_db: float, ranges_m: list[float]) -> None:
    distance_m = np.arange(50.0, 9000.0, 0.5)
    for wind_m_s, expected in zip([0, 5, 10, 15], ranges_m, strict=True):
        falling = np.asarray(snr_db(level_db, distance_m, wind_m_s))
        assert np.interp(-10, -falling, distance_m) == pytest.approx(expected, abs=0.6)


@pytest.mark.parametrize(
    ("wind_m_s", "snr", "snr_error", "per", "per_error"),
    [(5, 9.36, 0.0051, 0.0084, 5e-5), (8, 4.92, 0.0051, 0.96, 0.0051), (10, 2.42, 0.0051, 1.00, 1e-6)],
)
def test_link_budget_end_to_end(wind_m_s: float, snr: float, snr_error: float, per: float, per_error: float) -> None:
    modem = Modem(rate_bps=5000, bandwidth_hz=5000, source_level_db=136)
    loss_db = transmission_loss_db(1000, 1.5, thorp(modem.carrier_hz / 1000))
    ours_db = modem.source_level_db - loss_db - modem.noise_level_db(wenz(modem.carrier_hz / 1000, wind_m_s, 0.5))
    assert ours_db == pytest.approx(snr, abs=snr_error)
    ebn0_db = modem.ebn0_db(ours_db)
    assert packet_error_rate(bpsk(10 ** (ebn0_db / 10)), 512) == pytest.approx(per, abs=per_error)
    assert modem.success_table().per(ebn0_db, 512) == pytest.approx(per, abs=per_error + 1e-4)
