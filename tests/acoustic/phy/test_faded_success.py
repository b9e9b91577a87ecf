"""Success on a fading channel against numeric integrals and draws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import simpson
from scipy.special import i0e

from toolkit.acoustic.phy.faded_success import faded
from toolkit.acoustic.phy.fading import FastFading
from toolkit.acoustic.phy.modem import Modem
from toolkit.acoustic.prediction import Forecast
from toolkit.acoustic.routing.neighbours import LinkBudget

LAWS = [("rician", 10.0), ("rician", 3.0), ("rician", 25.0), ("rayleigh", 6.0)]


def integral(modem: Modem, k: float, snr_db: float, bits: int) -> float:
    """1 - PER averaged over the law of the power gain, by Simpson's rule over the amplitude."""
    table, gain_db = modem.success_table(), modem.ebn0_db(0.0)
    amplitude = np.linspace(1e-4, 4.0, 40_001)
    gain = amplitude**2
    steady = 2.0 * np.sqrt(k * (1.0 + k) * gain)
    density = (1.0 + k) * np.exp(steady - k - (1.0 + k) * gain) * i0e(steady) * 2.0 * amplitude
    success = 1.0 - table.per(snr_db + gain_db + 10.0 * np.log10(gain), bits)
    return float(simpson(density * success, x=amplitude))


@pytest.mark.parametrize(("kind", "k_db"), LAWS)
@pytest.mark.parametrize("modem", [Modem(), Modem(modulation="bpsk"), Modem(modulation="threshold", threshold_db=8.0)])
def test_the_table_is_the_integral(kind: str, k_db: float, modem: Modem) -> None:
    fading = FastFading(kind=kind, k_db=k_db)
    k = 10.0 ** (k_db / 10.0) if kind == "rician" else 0.0
    budget = LinkBudget(modem, fading)
    for snr_db in np.arange(-2.0, 22.0, 3.1):
        for bits in (112, 640):
            found = budget.success(Forecast(float(snr_db), 0.0), bits)
            assert found == pytest.approx(integral(modem, k, float(snr_db), bits), abs=0.002)


def test_the_table_is_the_mean_over_draws_of_the_channel() -> None:
    modem, fading = Modem(), FastFading(kind="rician", k_db=10)
    gains_db = 10.0 * np.log10(fading.power_gains(np.random.default_rng(5), 200_000))
    budget = LinkBudget(modem, fading)
    for snr_db in (4.0, 8.0, 11.0):
        drawn = 1.0 - modem.success_table().per(snr_db + modem.ebn0_db(0.0) + gains_db, 640).mean()
        assert budget.success(Forecast(snr_db, 0.0), 640) == pytest.approx(drawn, abs=0.004)


def test_without_fading_it_is_the_modem() -> None:
    table = Modem().success_table()
    assert faded(table, FastFading(), 640) is table


def test_the_level_for_a_success_is_the_inverse() -> None:
    budget = LinkBudget(Modem(), FastFading(kind="rician", k_db=10))
    for wanted in (0.2, 0.5, 0.8):
        level_db = budget.snr_db_for(wanted, 640)
        assert budget.success(Forecast(level_db, 0.0), 640) >= wanted > budget.success(Forecast(level_db - 0.06, 0.0), 640)
