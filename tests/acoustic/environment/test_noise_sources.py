"""Noise sources: shapes over the day, the line of the tide, and laws that all of them keep."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from toolkit.acoustic.environment import NoiseSource, Span, Weather
from toolkit.acoustic.environment.daily_noise import SILENCE_DB, DailyNoise
from toolkit.acoustic.environment.extra_noise_record import ExtraNoiseRecord
from toolkit.acoustic.environment.flow_noise import FlowNoise
from toolkit.acoustic.environment.steady_wind import SteadyWind
from toolkit.acoustic.environment.still_tide import StillTide
from toolkit.acoustic.environment.surface_noise import SurfaceNoise
from toolkit.acoustic.water.noise import wenz
from toolkit.errors import DataError

DAY_S, HOUR_S = 86_400.0, 3600.0
WEEK = Span(datetime(2001, 7, 2, tzinfo=UTC), -2 * DAY_S, 5 * DAY_S)
HERE = np.array([[0.0, 0.0, 50.0]])


class Stream:
    """A semidiurnal current of amplitude one."""

    def height_m(self, t_s):
        return np.zeros(np.shape(t_s))

    def current(self, t_s):
        return np.sin(2 * np.pi * np.asarray(t_s) / (12.42 * HOUR_S))


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def level(source: NoiseSource, tide=None, span: Span = WEEK, seed: int = 1) -> Callable[[float], float]:
    weather = Weather(SteadyWind(speed_m_s=5).init(span, rng()), tide or StillTide().init(span, rng()))
    at = source.init(span, weather, 25_000.0, rng(seed))
    return lambda t_s: float(at(t_s, HERE)[0])


def test_surface_noise_is_that_of_wenz_at_25_khz_and_5_m_s() -> None:
    assert level(SurfaceNoise())(0.0) == pytest.approx(38.55, abs=0.005)


@pytest.mark.parametrize("f_hz", [1000.0, 10_000.0, 25_000.0, 120_000.0])
@pytest.mark.parametrize("shipping", [0.0, 1.0])
def test_working_out_the_steady_terms_beforehand_changes_no_bit_of_wenz(f_hz: float, shipping: float) -> None:
    for wind_m_s in (0.0, 0.3, 5.0, 17.2):
        weather = Weather(SteadyWind(speed_m_s=wind_m_s).init(WEEK, rng()), StillTide().init(WEEK, rng()))
        at = SurfaceNoise(shipping=shipping).init(WEEK, weather, f_hz, rng())
        assert at(0.0, HERE)[0] == wenz(f_hz / 1e3, wind_m_s, shipping)


def test_small_craft_are_heard_from_8_to_18_local_time() -> None:
    at = level(DailyNoise(hours=(8, 18), utc_offset_hours=-9, level_db=44))
    for day in (-2, 0, 3):
        heard = [hour for hour in range(24) if at(day * DAY_S + hour * HOUR_S) == 44]
        assert heard == [0, 1, 2, *range(17, 24)]  # 17 to 03 UTC
    assert at(10 * HOUR_S) == SILENCE_DB


def test_a_pulse_may_pass_midnight() -> None:
    at = level(DailyNoise(hours=(22, 3), level_db=40))
    assert [hour for hour in range(24) if at(hour * HOUR_S) == 40] == [0, 1, 2, 22, 23]


def test_jitter_belongs_to_the_day_and_not_to_the_order_of_asking() -> None:
    pulse = DailyNoise(hours=(8, 18), level_db=44, jitter_min=20)
    forward, backward = level(pulse), level(pulse)
    t_s = np.arange(WEEK.first_s, WEEK.last_s, 120.0)
    levels = np.array([forward(t) for t in t_s])
    np.testing.assert_array_equal([backward(t) for t in t_s[::-1]], levels[::-1])
    begins = [t_s[(t_s >= day * DAY_S) & (t_s < (day + 1) * DAY_S) & (levels == 44)][0] - day * DAY_S for day in range(-2, 5)]
    assert np.std(begins) > 120  # 20 minutes, of seven days
    assert np.abs(np.array(begins) - 8 * HOUR_S).max() < 90 * 60
    assert (np.array([level(pulse, seed=2)(t) for t in t_s[::10]]) != levels[::10]).any()


def test_a_profile_is_read_in_equal_slots_from_local_midnight() -> None:
    at = level(DailyNoise(profile_db=[10, 20, 30, 40], utc_offset_hours=6))
    assert [at(hour * HOUR_S) for hour in (0, 5.9, 6, 12, 18, 23.9)] == [20, 20, 30, 40, 10, 10]
    assert at(-6 * HOUR_S - 1e-13) in (10, 40)  # just before local midnight, where rounding bites


def test_a_place_is_louder_than_its_surroundings() -> None:
    source = DailyNoise(hours=(0, 24), level_db=50, position_m=(0, 0), reference_m=200, spreading=1.5)
    at = source.init(WEEK, Weather(SteadyWind().init(WEEK, rng()), Stream()), 25_000.0, rng())
    places = np.array([[0, 0, 10], [0, 200, 500], [2000, 0, 10]], dtype=float)
    np.testing.assert_allclose(at(0.0, places), [50, 50, 35])


@pytest.mark.parametrize(("fields", "says"), [
    ({}, "either 'hours'"),
    ({"hours": (8, 18), "profile_db": [1, 2]}, "either 'hours'"),
    ({"hours": (8, 25)}, "between 0 and 24"),
    ({"hours": (8, 8)}, "begin and end together"),
    ({"profile_db": [10, 9000]}, "less than or equal to 150"),
])
def test_a_daily_source_has_one_shape(fields: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        DailyNoise.model_validate(fields)


def test_flow_noise_grows_with_the_power_of_the_current_and_twice_a_tide() -> None:
    at = level(FlowNoise(level_db=40, exponent=5, floor=0.02), Stream())
    peak_s = 12.42 * HOUR_S / 4
    assert at(peak_s) == pytest.approx(40)
    assert at(peak_s / 3) == pytest.approx(40 + 50 * np.log10(0.5))
    assert at(0.0) == pytest.approx(40 + 50 * np.log10(0.02))
    for t_s in (1000.0, 9000.0, 20_000.0):
        assert at(t_s) == pytest.approx(at(t_s + 6.21 * HOUR_S))


def test_a_noise_record_is_interpolated_in_db_and_has_to_cover_the_run(tmp_path: Path) -> None:
    path = tmp_path / "noise.csv"
    path.write_text("time,noise_db\n2001-07-02T00:00Z,40\n2001-07-02T01:00Z,50\n", encoding="utf-8")
    source = ExtraNoiseRecord(file=path)
    assert level(source, span=Span(WEEK.origin, 0, HOUR_S))(HOUR_S / 2) == pytest.approx(45)
    with pytest.raises(DataError, match="covers"):
        level(source)


@pytest.mark.parametrize("name", NoiseSource.member_names())
def test_every_source_gives_one_finite_level_per_place_and_never_another(name: str, tmp_path: Path) -> None:
    path = tmp_path / "noise.csv"
    rows = [f"2001-0{6 + (day > 0)}-{day or 30:02d}T{hour:02d}:00Z,{30 + hour}" for day in range(8) for hour in range(24)]
    path.write_text("\n".join(["time,noise_db", *rows]), encoding="utf-8")
    fields = {"daily_noise": {"hours": (8, 18), "position_m": (10, 10), "jitter_min": 5}, "extra_noise_record": {"file": path}}
    part = NoiseSource.find(name).model_validate(fields.get(name, {}))
    weather = Weather(SteadyWind().init(WEEK, rng()), Stream())
    at = part.init(WEEK, weather, 25_000.0, rng(3))
    places = np.array([[0, 0, 5], [100, 200, 50], [3000, 0, 400]], dtype=float)
    t_s = np.linspace(WEEK.first_s, WEEK.last_s, 40)
    table = np.array([at(t, places) for t in t_s])
    assert table.shape == (40, 3)
    assert np.isfinite(table).all()
    order = rng(4).permutation(40)
    np.testing.assert_array_equal([at(t_s[i], places) for i in order], table[order])
    np.testing.assert_array_equal([at(t, places[1:2])[0] for t in t_s], table[:, 1])
