"""The sea as a whole: powers add, seeds see their own weather, and two arms of a seed the same."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from toolkit.acoustic.phy.modem import Modem
from toolkit.acoustic.water.absorption import thorp
from toolkit.acoustic.water.noise import wenz
from toolkit.acoustic.water.sea import Sea
from toolkit.core.part import explain
from toolkit.core.streams import Streams
from toolkit.errors import DataError

DAY_S, HOUR_S = 86_400.0, 3600.0
DATA = Path(__file__).parents[3] / "data" / "sand_point"
PLACES_M = np.array([[0, 0, 10], [500, 0, 100], [1000, 900, 400]], dtype=float)
HARBOUR = {
    "start": "1996-06-04T10:00:00Z", "random_start_days": 20, "tide_loss_db_per_m": 0.5, "absorption": "francois_garrison",
    "wind": {"type": "wind_record", "file": "wind_tmy3_703165_hourly.csv", "typical_year": 1996, "utc_offset_hours": -9},
    "tide": {"type": "harmonic_tide", "file": "tide_harmonics_noaa_9459450.csv"},
    "noise": ["surface_noise", "flow_noise", {"type": "daily_noise", "hours": [8, 18], "utc_offset_hours": -9, "level_db": 44}],
}


def sea(tree: dict[str, object]) -> Sea:
    return Sea.model_validate(tree, context={"base": DATA})


def still(**fields: object) -> Sea:
    return sea({"wind": {"type": "steady_wind", "speed_m_s": 5}, **fields})


def test_link_budget_of_one_kilometre() -> None:
    water = still().init(0, DAY_S, 25_000, Streams(1))
    assert water.loss_db(np.array([1000.0]), 0.0)[0] == pytest.approx(51.10, abs=0.01)
    np.testing.assert_allclose(water.noise_psd_db(0.0, PLACES_M), 38.55, atol=0.005)
    assert water.sound_speed_m_s == pytest.approx(1491.4, abs=0.5)
    assert water.origin == datetime(2000, 7, 1, tzinfo=UTC)


def test_powers_add_and_not_decibels() -> None:
    source = {"type": "daily_noise", "hours": [0, 24], "level_db": 48}
    water = still(noise=[source, source]).init(0, DAY_S, 25_000, Streams(1))
    np.testing.assert_allclose(water.noise_psd_db(0.0, PLACES_M), 51.0103, atol=1e-3)


@pytest.mark.parametrize(("formula", "db_per_km"), [("thorp", 6.1048), ("francois_garrison", 4.928), ("ainslie_mccolm", 5.027)])
def test_absorption_formulas(formula: str, db_per_km: float) -> None:
    water = still(absorption=formula).init(0, DAY_S, 25_000, Streams(1))
    loss = water.loss_db(np.array([1000.0, 2000.0]), 0.0)
    assert loss[1] - loss[0] - 15 * np.log10(2) == pytest.approx(db_per_km, abs=0.002)


def test_the_harbour_hears_wind_and_craft_and_its_loss_follows_the_tide() -> None:
    water = sea(HARBOUR).init(-3 * DAY_S, DAY_S, 25_000, Streams(3))
    t_s = np.arange(-3 * DAY_S, DAY_S, HOUR_S)
    noise = np.array([water.noise_psd_db(t, PLACES_M)[0] for t in t_s])
    floor = wenz(25.0, water.wind_m_s(t_s), 0.5)
    assert (noise >= floor - 1e-9).all()
    local_hour = ((water.origin.hour - 9) * HOUR_S + t_s) % DAY_S / HOUR_S
    day = (local_hour >= 8) & (local_hour < 18)
    assert noise[day].min() >= 44
    distance = np.array([800.0])
    loss = np.array([water.loss_db(distance, t)[0] for t in t_s])
    np.testing.assert_allclose(loss - loss[0], 0.5 * (water.tide.height_m(t_s) - water.tide.height_m(t_s[0])), atol=1e-9)


def test_seeds_see_their_own_days_and_arms_of_a_seed_the_same() -> None:
    harbour = sea(HARBOUR)
    origins = {harbour.init(-3 * DAY_S, DAY_S, 25_000, Streams(seed)).origin for seed in range(8)}
    assert len(origins) > 3
    assert all((origin - harbour.start).total_seconds() % DAY_S == 0 for origin in origins)
    busy = Streams(1)
    busy.rng("mac", 3).random(1000)  # another arm draws more elsewhere
    first, second = harbour.init(-DAY_S, DAY_S, 25_000, Streams(1)), harbour.init(-DAY_S, DAY_S, 25_000, busy)
    for t_s in (-DAY_S, 0.0, 12_345.0):
        np.testing.assert_array_equal(first.noise_psd_db(t_s, PLACES_M), second.noise_psd_db(t_s, PLACES_M))


def test_a_sea_comes_back_from_its_dump() -> None:
    harbour = sea(HARBOUR)
    assert Sea.model_validate(harbour.model_dump(mode="json")) == harbour


def test_check_reads_the_files_for_every_start_a_seed_may_draw() -> None:
    sea(HARBOUR).check(-3 * DAY_S, DAY_S, 25_000)
    with pytest.raises(DataError, match="inside one month"):
        sea({**HARBOUR, "random_start_days": 27}).check(-3 * DAY_S, DAY_S, 25_000)


def test_a_start_without_offset_is_utc_and_others_are_converted() -> None:
    assert still(start="2001-07-01T00:00:00").start == datetime(2001, 7, 1, tzinfo=UTC)
    assert still(start="2001-07-01T00:00:00-09:00").start == datetime(2001, 7, 1, 9, tzinfo=UTC)


@pytest.mark.parametrize(("fields", "says"), [
    ({"noise": []}, "noise: "),
    ({"spreading": 3}, "spreading: input should be less than or equal to 2"),
    ({"wind": {"type": "steady_wind", "speed_m_s": -1}}, "wind.speed_m_s: input should be greater than or equal to 0"),
    ({"wind": {"type": "wind_recrod"}}, "did you mean 'wind_record'"),
    ({"tide": {"type": "harmonic_tide", "file": "nowhere.csv"}}, "tide.file: no such file; looked for"),
    ({"wnid": "steady_wind"}, "unknown key 'wnid'; did you mean 'wind'"),
])
def test_a_mistake_is_one_sentence(fields: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        sea(fields)
    lines = explain(caught.value)
    assert len(lines) == 1
    assert says in lines[0]


def test_an_integrated_band_is_the_sum_over_its_frequencies() -> None:
    """SNR in the band of a modem as wide as half its carrier, by a fine sum; the flat one is 2 dB off at 2 km."""
    modem = Modem(profile="linkquest_uwm2000h")
    distance_m = np.array([100.0, 1000.0, 2000.0, 20_000.0])
    f_khz = (modem.carrier_hz + modem.bandwidth_hz * ((np.arange(20_000) + 0.5) / 20_000 - 0.5)) / 1e3
    loss_db = 15.0 * np.log10(distance_m) - 10.0 * np.log10((10.0 ** (-thorp(f_khz) * distance_m[:, None] / 1e4)).mean(axis=1))
    noise_db = 10.0 * np.log10((10.0 ** (wenz(f_khz, 5.0, 0.5) / 10.0)).mean())
    snr_db = {}
    for band in ("flat", "integrated"):
        water = still(band=band).init(0, DAY_S, modem.carrier_hz, Streams(1), modem.bandwidth_hz)
        snr_db[band] = -water.loss_db(distance_m, 0.0) - water.noise_psd_db(0.0, PLACES_M[:1])
    assert snr_db["integrated"] == pytest.approx(-loss_db - noise_db, abs=0.01)
    assert 1.5 < (snr_db["integrated"] - snr_db["flat"])[2] < 2.5


def test_a_narrow_band_is_flat_and_every_tone_has_the_same_weather() -> None:
    waters = [sea({**HARBOUR, "band": band}).init(-3 * DAY_S, DAY_S, 25_000, Streams(3), 10.0) for band in ("flat", "integrated")]
    for t_s in np.arange(-3 * DAY_S, DAY_S, 6 * HOUR_S):
        flat, integrated = (water.noise_psd_db(t_s, PLACES_M) for water in waters)
        assert integrated == pytest.approx(flat, abs=1e-4)
