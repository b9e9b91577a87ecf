"""Tide: the speeds of the almanac, the true date, and a current that is the slope of the height."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from toolkit.acoustic.environment import Span, Tide
from toolkit.acoustic.environment.harmonic_tide import CONSTITUENTS, HarmonicTide, nodal, speed_deg_per_h
from toolkit.errors import DataError

DAY_S = 86_400.0
SAND_POINT = Path(__file__).parents[3] / "data" / "sand_point" / "tide_harmonics_noaa_9459450.csv"
JUNE = Span(datetime(1996, 6, 4, 10, tzinfo=UTC), -3 * DAY_S, 20 * DAY_S)


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def tide_of(folder: Path, *rows: str) -> HarmonicTide:
    path = folder / "constants.csv"
    path.write_text("\n".join(["constituent,amplitude_m,phase_gmt_deg", *rows]) + "\n", encoding="utf-8")
    return HarmonicTide(file=path)


@pytest.mark.parametrize(("name", "deg_per_h"), [
    ("M2", 28.9841042), ("S2", 30.0), ("N2", 28.4397295), ("K1", 15.0410686), ("O1", 13.9430356), ("P1", 14.9589314),
    ("Q1", 13.3986609), ("K2", 30.0821373), ("M4", 57.9682084), ("SA", 0.0410686), ("NU2", 28.5125831), ("L2", 29.5284789),
    ("MU2", 27.9682084), ("T2", 29.9589333), ("LDA2", 29.4556253), ("M1", 14.4966939), ("J1", 15.5854433), ("OO1", 16.1391017),
    ("RHO1", 13.4715145), ("2Q1", 12.8542862), ("2SM2", 31.0158958), ("MS4", 58.9841042), ("2N2", 27.8953548), ("M3", 43.4761563),
])
def test_speeds_are_those_published(name: str, deg_per_h: float) -> None:
    assert speed_deg_per_h(name) == pytest.approx(deg_per_h, abs=2e-7)


@pytest.mark.parametrize(("name", "parts"), [
    ("M4", {"M2": 2}), ("M6", {"M2": 3}), ("S4", {"S2": 2}), ("S6", {"S2": 3}), ("MS4", {"M2": 1, "S2": 1}), ("2SM2", {"S2": 2, "M2": -1}),
    ("M2", {"K1": 1, "O1": 1}), ("S2", {"K1": 1, "P1": 1}), ("N2", {"K1": 1, "Q1": 1}), ("MU2", {"M2": 2, "S2": -1}),
    ("2N2", {"N2": 2, "M2": -1}), ("L2", {"M2": 2, "N2": -1}), ("NU2", {"K1": 1, "RHO1": 1}), ("LDA2", {"M2": 2, "NU2": -1}),
    ("2Q1", {"Q1": 2, "O1": -1}), ("K2", {"K1": 2}), ("OO1", {"K1": 2, "O1": -1}), ("M3", {"M2": 1.5}),
    ("J1", {"K1": 1, "M2": 1, "N2": -1}),
])
def test_tides_are_sums_of_others(name: str, parts: dict[str, float]) -> None:
    """Of the Sun's hours and of the longitudes of Moon, Sun, lunar perigee and perihelion, to the last of them; see Doodson (1921)."""
    axes = ("solar", "s", "h", "p", "p1")
    found = {axis: sum(count * getattr(CONSTITUENTS[part], axis) for part, count in parts.items()) for axis in axes}
    assert {axis: getattr(CONSTITUENTS[name], axis) for axis in found} == found
    beginning = sum(count * CONSTITUENTS[part].offset_deg for part, count in parts.items())
    assert (beginning - CONSTITUENTS[name].offset_deg) % 180 == 0, "but for the sign with which a tide is written"
    assert speed_deg_per_h(name) == pytest.approx(sum(count * speed_deg_per_h(part) for part, count in parts.items()), rel=1e-14)


@pytest.mark.parametrize("name", sorted(CONSTITUENTS))
def test_a_tide_has_as_many_turns_a_day_as_it_is_called(name: str) -> None:
    """And of all of them T2 alone knows where the Sun is nearest."""
    turns = speed_deg_per_h(name) / 15.0
    assert round(turns) == (0 if name == "SA" else int(name[-1]))
    assert abs(turns - round(turns)) < 0.25
    assert CONSTITUENTS[name].solar == round(turns)
    assert (CONSTITUENTS[name].p1 != 0) == (name == "T2")


def test_the_solar_tide_is_highest_at_midnight_and_noon_utc_whatever_the_date(tmp_path: Path) -> None:
    water = tide_of(tmp_path, "S2,1.5,0").init(JUNE, rng())
    np.testing.assert_allclose(water.height_m(np.array([2, 8, 14, 20]) * 3600.0), [1.5, -1.5, 1.5, -1.5], atol=1e-6)


def test_a_phase_delays_high_water(tmp_path: Path) -> None:
    water = tide_of(tmp_path, "S2,1.0,90").init(JUNE, rng())
    assert water.height_m((2 + 3) * 3600.0) == pytest.approx(1.0)  # 90 degrees at 30 degrees per hour


def test_spring_tides_follow_the_new_moon(tmp_path: Path) -> None:
    """With phases of zero Moon and Sun pull together at new moon: 16 June 1996, 01:36 UTC (mean motion is good to some hours)."""
    run = Span(datetime(1996, 6, 16, 1, 36, tzinfo=UTC), -5 * DAY_S, 5 * DAY_S)
    water = tide_of(tmp_path, "M2,1,0", "S2,1,0").init(run, rng())
    t_s = np.arange(-5 * DAY_S, 5 * DAY_S, 300.0)
    heights = water.height_m(t_s)
    assert abs(t_s[heights.argmax()]) < 0.75 * DAY_S


def test_nodal_corrections_at_both_ends_of_the_cycle() -> None:
    """At N = 0 (1969, 1987, 2006) the lunar declination is largest: the diurnal tides are strong and M2 is weak."""
    assert nodal("M2", 0.0) == (pytest.approx(0.963, abs=2e-3), pytest.approx(0.0))
    assert nodal("K1", 0.0)[0] == pytest.approx(1.113, abs=2e-3)
    assert nodal("O1", 0.0)[0] == pytest.approx(1.183, abs=2e-3)
    assert nodal("K2", 0.0)[0] == pytest.approx(1.317, abs=2e-3)
    assert nodal("M2", 180.0)[0] == pytest.approx(1.038, abs=2e-3)
    assert nodal("O1", 180.0)[0] == pytest.approx(0.806, abs=2e-3)
    f, u = nodal("M2", 90.0)
    assert nodal("2M2", 90.0) == (pytest.approx(f**2), pytest.approx(2 * u))
    assert nodal("-M2", 90.0) == (pytest.approx(f), pytest.approx(-u))
    assert nodal("", 90.0) == (1.0, 0.0)


@pytest.mark.parametrize("node_deg", range(0, 360, 30))
def test_nodal_series_agree_with_the_closed_forms(node_deg: int) -> None:
    """Schureman (1958): the Moon's orbit cuts the equator at an angle I and at longitudes nu and xi that turn with the node."""
    n = np.deg2rad((node_deg + 180) % 360 - 180)
    inclination = np.arccos(0.91370 - 0.03569 * np.cos(n))
    a, b = (np.arctan2(factor * np.sin(n / 2), np.cos(n / 2)) for factor in (1.01883, 0.64412))
    nu, xi = a - b, n - a - b
    one, two = np.sin(2 * inclination), np.sin(inclination) ** 2
    exact = {
        "M2": (np.cos(inclination / 2) ** 4 / 0.9154, 2 * xi - 2 * nu),
        "O1": (np.sin(inclination) * np.cos(inclination / 2) ** 2 / 0.3800, 2 * xi - nu),
        "K1": (np.sqrt(0.8965 * one**2 + 0.6001 * one * np.cos(nu) + 0.1006), -np.arctan2(one * np.sin(nu), one * np.cos(nu) + 0.3347)),
        "K2": (
            np.sqrt(19.0444 * two**2 + 2.7702 * two * np.cos(2 * nu) + 0.0981),
            -np.arctan2(two * np.sin(2 * nu), two * np.cos(2 * nu) + 0.0727),
        ),
        "J1": (one / 0.7214, -nu),
        "OO1": (np.sin(inclination) * np.sin(inclination / 2) ** 2 / 0.0164, -2 * xi - nu),
    }
    for name, (f, u) in exact.items():
        assert nodal(name, node_deg)[0] == pytest.approx(f, abs=0.01), name
        assert nodal(name, node_deg)[1] == pytest.approx(np.rad2deg(u), abs=0.5), name


def test_the_node_turns_once_in_18_6_years(tmp_path: Path) -> None:
    """A month of M2 alone has the amplitude f: 0.963 in May 2006, 1.037 in September 2015."""
    for year, month, f in ((2006, 5, 0.963), (2015, 9, 1.037)):
        run = Span(datetime(year, month, 15, tzinfo=UTC), 0.0, 10 * DAY_S)
        heights = tide_of(tmp_path, "M2,1,0").init(run, rng()).height_m(np.arange(0, 10 * DAY_S, 300.0))
        assert heights.max() == pytest.approx(f, abs=3e-3)


def test_the_real_tide_is_mixed_and_two_to_four_metres_high() -> None:
    water = HarmonicTide(file=SAND_POINT).init(JUNE, rng())
    heights = water.height_m(np.arange(JUNE.first_s, JUNE.last_s, 600.0))
    assert 2.0 < np.ptp(heights) < 4.5
    assert abs(heights.mean()) < 0.2


def test_current_is_the_slope_of_the_height_and_at_most_one() -> None:
    water = HarmonicTide(file=SAND_POINT).init(JUNE, rng())
    t_s = np.arange(JUNE.first_s, JUNE.last_s, 600.0)
    current = water.current(t_s)
    assert np.abs(current).max() == pytest.approx(1.0)
    slope = (water.height_m(t_s + 30) - water.height_m(t_s - 30)) / 60
    np.testing.assert_allclose(current, slope / np.abs(slope).max(), atol=1e-4)


def test_the_tide_does_not_depend_on_where_time_zero_lies() -> None:
    early, late = (
        HarmonicTide(file=SAND_POINT).init(Span(datetime(1996, 6, day, tzinfo=UTC), first_s, first_s + 6 * DAY_S), rng())
        for day, first_s in ((10, 0.0), (13, -3 * DAY_S))
    )
    t_s = np.linspace(0, 6 * DAY_S, 50)
    np.testing.assert_allclose(early.height_m(t_s), late.height_m(t_s - 3 * DAY_S), atol=1e-5)
    np.testing.assert_allclose(early.current(t_s), late.current(t_s - 3 * DAY_S), atol=1e-5)


def test_all_constituents_of_the_file_are_known() -> None:
    names = [line.split(",")[0] for line in SAND_POINT.read_text(encoding="utf-8").splitlines()[1:]]
    assert len(names) == 28
    assert set(names) <= set(CONSTITUENTS)


@pytest.mark.parametrize(("row", "says"), [
    ("M22,1,0", r"line 3: unknown constituent 'M22'; did you mean 'M2'"),
    ("S2,high,0", r"line 3: column 'amplitude_m' holds 'high'"),
    ("S2,1,", r"line 3: column 'phase_gmt_deg' holds nothing"),
])
def test_a_bad_constant_is_one_error(tmp_path: Path, row: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        tide_of(tmp_path, "M2,1,0", row).init(JUNE, rng())


@pytest.mark.parametrize("name", Tide.member_names())
def test_every_tide_answers_in_the_shape_it_was_asked(name: str) -> None:
    if name == "tide_record":
        pytest.skip("needs a record, see test_tide_record.py")
    part = Tide.find(name).model_validate({"file": SAND_POINT} if name == "harmonic_tide" else {})
    water = part.init(JUNE, rng())
    t_s = np.linspace(JUNE.first_s, JUNE.last_s, 101)
    for answer in (water.height_m, water.current):
        assert answer(0.0).shape == ()
        np.testing.assert_allclose([float(answer(t)) for t in t_s[::-1]], answer(t_s)[::-1], atol=1e-9)
    assert np.abs(water.current(t_s)).max() <= 1.01
