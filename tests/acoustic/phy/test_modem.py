from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from toolkit.acoustic.phy.modem import PROFILES, Modem
from toolkit.acoustic.phy.modulation import success_table
from toolkit.core.part import explain


def problems(**values: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Modem.model_validate(values)
    return explain(caught.value)


def test_frame_time_is_preamble_and_bits() -> None:
    assert Modem(rate_bps=10_000).frame_s(50) == pytest.approx(0.04)
    assert Modem(rate_bps=10_000, preamble_s=0.1).frame_s(50) == pytest.approx(0.14)


def test_levels_in_the_band() -> None:
    modem = Modem(bandwidth_hz=5000, rate_bps=2500)
    assert modem.noise_level_db(38.55) == pytest.approx(75.54, abs=0.0051)
    assert modem.ebn0_db(10) == pytest.approx(13.0103, abs=1e-4)
    assert isinstance(modem.ebn0_db(10), float)
    np.testing.assert_allclose(modem.ebn0_db(np.zeros(3)), 3.0103, atol=1e-4)


def test_success_table_is_that_of_the_settings() -> None:
    assert Modem(modulation="dpsk", coding_gain_db=3).success_table() is success_table(
        "dpsk", 3.0, threshold_db=8.0, rician_k_db=10.0
    )
    strict = Modem(modulation="threshold", threshold_db=12).success_table()
    assert (strict.per(11.9, 512), strict.per(12.0, 512)) == (1, pytest.approx(0, abs=1e-50))
    calm, rough = (Modem(modulation="bpsk_rician", rician_k_db=k).success_table().per(10.0, 512) for k in (10, 3))
    assert calm < rough


@pytest.mark.parametrize("name", Modem.profiles())
def test_every_profile_holds_and_names_its_source(name: str) -> None:
    modem = Modem(profile=name)
    assert modem.profile == name
    assert "ssumed" in modem.source
    assert modem.source_level_db == 136
    assert modem.idle_w <= modem.rx_w < modem.tx_w
    values = yaml.safe_load((PROFILES.folder / f"{name}.yaml").read_text(encoding="utf-8"))
    assert {"carrier_hz", "bandwidth_hz", "rate_bps", "source_level_db", "tx_w", "rx_w", "idle_w", "modulation"} <= set(values)


@pytest.mark.parametrize(
    ("name", "powers"),
    [
        ("whoi_micromodem", (50, 0.158, 0.158)),
        ("evologics_like", (3.3, 0.62, 0.085)),
        ("linkquest_uwm1000_like", (2.0, 0.1, 0.01)),
        ("aquasim_ng_default", (0.660, 0.395, 0.008)),
        ("linkquest_uwm2000h", (2, 0.8, 0.008)),
        ("tritech_micron", (7.92, 0.72, 0.085)),
        ("aquamodem1000", (20, 0.6, 0.085)),
    ],
)
def test_powers_of_the_profiles(name: str, powers: tuple[float, float, float]) -> None:
    modem = Modem(profile=name)
    assert (modem.tx_w, modem.rx_w, modem.idle_w) == powers


def test_explicit_keys_override_the_profile() -> None:
    modem = Modem.model_validate({"profile": "whoi_micromodem", "rate_bps": 5400, "source_level_db": 185})
    assert (modem.rate_bps, modem.source_level_db, modem.tx_w) == (5400, 185, 50)


@pytest.mark.parametrize("values", [{}, {"profile": "tritech_micron"}, {"profile": "aquamodem1000", "rate_bps": 600, "tx_w": 12}])
def test_a_dump_builds_the_same_modem(values: dict[str, Any]) -> None:
    modem = Modem.model_validate(values)
    assert Modem.model_validate(modem.model_dump(mode="json")) == modem
    assert Modem.model_validate(modem.model_dump(exclude_unset=True)) == modem


def test_an_unknown_profile_is_answered_with_the_nearest() -> None:
    (line,) = problems(profile="whoi_micromodm")
    assert "'whoi_micromodm' is not a modem profile; did you mean 'whoi_micromodem'?" in line
    assert "evologics_like" in line


def test_an_unknown_key_is_answered_with_the_nearest() -> None:
    (line,) = problems(profile="evologics_like", carier_hz=1)
    assert "unknown key 'carier_hz'; did you mean 'carrier_hz'?" in line


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"carrier_hz": 0}, "carrier_hz"),
        ({"rate_bps": -1}, "rate_bps"),
        ({"tx_w": -1}, "tx_w"),
        ({"modulation": "ofdm"}, "modulation"),
        ({"profile": 3}, "profile"),
        ({"carrier_hz": 2000}, "reaches below zero"),
        ({"source_level_db": float("nan")}, "source_level_db"),
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, Any], word: str) -> None:
    (line,) = problems(**values)
    assert word in line


@pytest.mark.parametrize("rate_bps", [2500.0, 10_000.0, 40_000.0])
def test_the_two_thresholds_differ_by_band_over_rate(rate_bps: float) -> None:
    """Eb/N0 is the SINR times B / R_b; ns-3 compares the SINR itself."""
    modem = Modem(modulation="threshold_sinr", threshold_db=8.0, bandwidth_hz=10_000.0, rate_bps=rate_bps)
    for snr_db, lost in ((7.98, 1.0), (8.0, 0.0), (8.02, 0.0)):
        assert modem.success_table().per(modem.ebn0_db(snr_db), 512) == pytest.approx(lost)
    by_bit = Modem(modulation="threshold", threshold_db=8.0, bandwidth_hz=10_000.0, rate_bps=rate_bps)
    gain_db = 10.0 * np.log10(10_000.0 / rate_bps)
    for snr_db, lost in ((7.98 - gain_db, 1.0), (8.02 - gain_db, 0.0)):
        assert by_bit.success_table().per(by_bit.ebn0_db(snr_db), 512) == pytest.approx(lost)
