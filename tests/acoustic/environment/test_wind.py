"""Wind: records read strictly, the real one of Sand Point, and the synthetic one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from toolkit.acoustic.environment import Span, Wind
from toolkit.acoustic.environment.synthetic_wind import SyntheticWind
from toolkit.acoustic.environment.wind_record import WindRecord
from toolkit.errors import DataError

DAY_S = 86_400.0
SAND_POINT = Path(__file__).parents[3] / "data" / "sand_point" / "wind_tmy3_703165_hourly.csv"
GOOD = ["2001-07-01T00:00Z,2", "2001-07-01T01:00Z,4", "2001-07-01T02:00Z,3", "2001-07-01T03:00Z,5"]


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def span(first_s: float, last_s: float, *start: int) -> Span:
    return Span(datetime(*(start or (2001, 7, 1)), tzinfo=UTC), first_s, last_s)


def iso_wind(folder: Path, rows: list[str], header: str = "time,wind", **fields: object) -> WindRecord:
    path = folder / "wind.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    settings = {"file": path, "speed_column": "wind", "time_column": "time", "hour_column": None, "utc_offset_hours": 0}
    return WindRecord.model_validate({**settings, **fields})


def test_values_stand_at_their_times_and_are_linear_in_between(tmp_path: Path) -> None:
    wind = iso_wind(tmp_path, GOOD).init(span(0, 10_800), rng())
    np.testing.assert_allclose(wind([0, 1800, 3600, 7200, 9000]), [2, 3, 4, 3, 4])
    assert wind(1800.0).shape == ()


def test_a_plain_file_of_two_columns_needs_no_settings_and_is_in_utc(tmp_path: Path) -> None:
    """Whatever the columns are called; times that do not say otherwise are UTC."""
    for header in ("time,wind_speed_m_s", "Date,Wind", "when,ff"):
        path = tmp_path / "plain.csv"
        path.write_text("\n".join([header, *(row.replace("Z", "") for row in GOOD)]) + "\n", encoding="utf-8")
        wind = WindRecord(file=path).init(span(0, 10_800), rng())
        np.testing.assert_allclose(wind([0, 3600, 7200, 10_800]), [2, 4, 3, 5])


def test_of_several_columns_the_usual_name_is_taken_or_the_setting_is_asked_for(tmp_path: Path) -> None:
    rows = [f"{row},9" for row in GOOD]
    path = tmp_path / "three.csv"
    path.write_text("\n".join(["time,wind_speed_m_s,gust", *rows]) + "\n", encoding="utf-8")
    assert WindRecord(file=path).init(span(0, 10_800), rng())(0) == pytest.approx(2)
    path.write_text("\n".join(["time,ff,gust", *rows]) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"has 3 columns \(time, ff, gust\) and none called 'wind_speed_m_s'; name the one .* speed_column"):
        WindRecord(file=path).init(span(0, 10_800), rng())


def test_local_times_are_turned_into_utc(tmp_path: Path) -> None:
    rows = [row.replace("Z", "") for row in GOOD]
    wind = iso_wind(tmp_path, rows, utc_offset_hours=-9).init(span(9 * 3600, 12 * 3600), rng())
    assert wind(10 * 3600) == pytest.approx(4)


def replaced(line: int, row: str) -> list[str]:
    return [row if number == line else good for number, good in enumerate(GOOD, start=2)]


@pytest.mark.parametrize(("rows", "line", "says"), [
    (replaced(4, "2001-07-01T02:00Z,NaN"), 4, "'NaN'"),
    (replaced(4, "2001-07-01T02:00Z,inf"), 4, "'inf'"),
    (replaced(4, "2001-07-01T02:00Z,"), 4, "nothing"),
    (replaced(4, "2001-07-01T02:00Z,calm"), 4, "'calm'"),
    (replaced(4, "2001-07-01T02:00Z,-99"), 4, "-99 m/s is negative"),
    (replaced(4, "2001-07-01T01:00Z,3"), 4, "occurs twice"),
    (replaced(4, "2001-07-01T00:30Z,3"), 4, "sort the rows by time"),
    (replaced(5, "2001-07-01T05:00Z,3"), 5, "gap of 3 h"),
    (replaced(4, "yesterday,3"), 4, "'yesterday'"),
    (replaced(4, "2001-07-01T02:00Z"), 4, "1 cells, and the header has 2"),
    (replaced(4, ""), 4, "0 cells"),
])
def test_a_bad_row_is_one_error_that_names_file_and_line(tmp_path: Path, rows: list[str], line: int, says: str) -> None:
    with pytest.raises(DataError) as caught:
        iso_wind(tmp_path, rows).init(span(0, 3600), rng())
    message = str(caught.value)
    assert "wind.csv" in message
    assert f"line {line}:" in message
    assert says in message


def test_a_longer_gap_is_interpolated_on_request(tmp_path: Path) -> None:
    wind = iso_wind(tmp_path, [GOOD[0], GOOD[3]], max_gap_s=10_800).init(span(0, 10_800), rng())
    assert wind(5400) == pytest.approx(3.5)


def test_a_missing_column_is_named_with_its_nearest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no column 'wind'; did you mean 'winds'\? \(columns: time, winds\)"):
        iso_wind(tmp_path, GOOD, header="time,winds").init(span(0, 3600), rng())


@pytest.mark.parametrize("text", ["", "\n\n", "time,wind\n", "time,wind\n\n"])
def test_an_empty_file_is_refused(tmp_path: Path, text: str) -> None:
    wind = iso_wind(tmp_path, GOOD)
    wind.file.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"is empty|has a header and no rows"):
        wind.init(span(0, 3600), rng())


def test_blank_lines_at_the_end_do_no_harm(tmp_path: Path) -> None:
    assert iso_wind(tmp_path, [*GOOD, "", ""]).init(span(0, 3600), rng())(0) == pytest.approx(2)


@pytest.mark.parametrize(("first_s", "last_s"), [(-1, 3600), (0, 10_801)])
def test_a_run_beyond_the_record_is_told_what_is_covered(tmp_path: Path, first_s: float, last_s: float) -> None:
    with pytest.raises(DataError, match="covers 2001-07-01 00:00 UTC to 2001-07-01 03:00 UTC"):
        iso_wind(tmp_path, GOOD).init(span(first_s, last_s), rng())


def test_the_real_record_is_read_at_hour_ending_local_time() -> None:
    wind = WindRecord(file=SAND_POINT, typical_year=1991, utc_offset_hours=-9).init(span(0, 5 * DAY_S, 1991, 7, 1, 10), rng())
    np.testing.assert_allclose(wind([0, 3600, 7200]), [6.5, 6.8, 7.2])  # 1 July, 01:00 to 03:00 local standard time


def test_a_typical_year_is_not_run_across_a_join() -> None:
    wind = WindRecord(file=SAND_POINT, typical_year=2001, utc_offset_hours=-9)
    with pytest.raises(DataError, match="inside one month"):
        wind.init(span(0, 3 * DAY_S, 2001, 7, 30), rng())
    with pytest.raises(DataError, match="covers 2001-01-01 10:00 UTC to 2002-01-01 09:00 UTC"):
        wind.init(span(0, DAY_S, 2003, 7, 1), rng())


def test_a_typical_year_read_as_a_plain_record_is_out_of_order() -> None:
    with pytest.raises(DataError, match=r"line 746: .* lies before the row above"):
        WindRecord(file=SAND_POINT).init(span(0, DAY_S, 1997, 1, 3), rng())


def test_synthetic_weather_has_the_spread_and_memory_asked_for() -> None:
    wind = SyntheticWind(mean_m_s=30, weather_m_s=2.0, memory_s=6 * 3600).init(span(0, 400 * DAY_S), rng())
    w = wind(np.arange(0, 400 * DAY_S, 3600.0)) - 30
    assert w.std() == pytest.approx(2.0, rel=0.1)
    assert np.corrcoef(w[:-6], w[6:])[0, 1] == pytest.approx(np.exp(-1), abs=0.08)


def test_the_breeze_peaks_at_its_hour_and_wind_is_never_negative() -> None:
    calm = SyntheticWind(mean_m_s=1, breeze_m_s=3, breeze_peak_hour=15, weather_m_s=0)
    wind = calm.init(span(0, DAY_S, 2001, 7, 1, 6), rng())
    t_s = np.arange(0, DAY_S, 600.0)
    assert t_s[wind(t_s).argmax()] == 9 * 3600  # 06:00 and nine hours
    assert wind(t_s).min() == 0


@pytest.mark.parametrize("name", Wind.member_names())
def test_every_wind_is_a_pure_function_of_time(name: str) -> None:
    spec = {"type": name, **({"file": SAND_POINT, "typical_year": 2001} if name == "wind_record" else {})}
    part = Wind.find(name).model_validate({key: value for key, value in spec.items() if key != "type"})
    run = span(-DAY_S, 2 * DAY_S, 2001, 7, 10)
    wind = part.init(run, rng(5))
    t_s = np.linspace(run.first_s, run.last_s, 301)
    together = wind(t_s)
    assert together.shape == t_s.shape
    assert (together >= 0).all()
    order = rng(2).permutation(len(t_s))
    np.testing.assert_array_equal([float(wind(t_s[i])) for i in order], together[order])
    np.testing.assert_array_equal(part.init(run, rng(5))(t_s), together)
