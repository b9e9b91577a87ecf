"""Tables as people have them: the same record, however it is written; what is told, and what is refused."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from toolkit.errors import DataError
from toolkit.predict import main
from toolkit.predict.reading import ReadOptions, chosen_step, read_record
from toolkit.predict.tables import TableOptions
from toolkit.predict.times import TimeOptions

N = 120
T0 = 1_325_376_000  # 2012-01-01
VALUES = np.round(12 + 5 * np.sin(np.arange(N) / 4), 2)
STAMPS = pd.date_range("2012-01-01", periods=N, freq="h")


def lines(rows, header: str | None = "time,x", end: str = "\n") -> str:
    return (header + end if header else "") + end.join(rows) + end


def iso(i: int) -> str:
    return f"{STAMPS[i]:%Y-%m-%d %H:%M:%S}"


WAYS = {  # text, encoding, options, words that a note must hold
    "plain": (lines(f"{iso(i)},{v}" for i, v in enumerate(VALUES)), "utf-8", {}, "taken as UTC"),
    "semicolons and decimal commas": (
        lines((f"{iso(i)};{v}".replace(".", ",") for i, v in enumerate(VALUES)), "time;x"), "utf-8", {}, "decimal commas"),
    "tabs": (lines((f"{iso(i)}\t{v}" for i, v in enumerate(VALUES)), "time\tx"), "utf-8", {}, "separated by tabs"),
    "UTF-16": (lines(f"{iso(i)},{v}" for i, v in enumerate(VALUES)), "utf-16", {}, "UTF-16"),
    "Latin-1": (lines((f"{iso(i)},{v},Gew\u00e4sser" for i, v in enumerate(VALUES)), "time,x,wo"), "latin-1", {}, "Latin-1"),
    "day first": (lines(f"{STAMPS[i]:%d/%m/%Y %H:%M},{v}" for i, v in enumerate(np.resize(VALUES, N))), "utf-8",
                  {"times": TimeOptions(format="%d/%m/%Y %H:%M")}, "UTC"),
    "unix": (lines(f"{T0 + 3600 * i},{v}" for i, v in enumerate(VALUES)), "utf-8", {}, "taken as seconds"),
    "unix ms": (lines(f"{1000 * (T0 + 3600 * i)},{v}" for i, v in enumerate(VALUES)), "utf-8", {}, "ms since 1970"),
    "excel": (lines(f"{40909 + i / 24:.7f},{v}" for i, v in enumerate(VALUES)), "utf-8", {"times": TimeOptions(unit="excel")}, ""),
    "matlab": (lines(f"{734869 + i / 24:.7f},{v}" for i, v in enumerate(VALUES)), "utf-8", {"times": TimeOptions(unit="matlab")}, ""),
    "decimal years": (
        lines(f"{2012 + i / 8784:.9f},{v}" for i, v in enumerate(VALUES)), "utf-8", {"times": TimeOptions(unit="year")}, ""),
    "since 1700": (
        lines((f"{113955 + i / 24:.7f}  {v}" for i, v in enumerate(VALUES)), None), "utf-8",
        {"time": ("1",), "column": "2", "times": TimeOptions(unit="d since 1700-01-01")}, "no header"),
    "year month day hour": (
        lines((f"2012 {s.month:02d} {s.day:02d} {s.hour:02d} {v} 99.0" for s, v in zip(STAMPS, VALUES, strict=True)), "YY MM DD hh x TIDE"),
        "utf-8", {}, "YY MM DD hh"),
    "NDBC with units": (
        lines((f"2012 {s.month:02d} {s.day:02d} {s.hour:02d} 00 {v}" for s, v in zip(STAMPS, VALUES, strict=True)),
              "#YY  MM DD hh mm x\n#yr  mo dy hr mn m/s"), "utf-8", {}, "YY MM DD hh mm"),
    "local time": (
        lines(f"{(STAMPS[i] + pd.Timedelta('1h')):%Y-%m-%d %H:%M},{v}" for i, v in enumerate(VALUES)), "utf-8",
        {"times": TimeOptions(tz="Etc/GMT-1")}, ""),
    "offset": (lines(f"{(STAMPS[i] + pd.Timedelta('2h')):%Y-%m-%dT%H:%M}+02:00,{v}" for i, v in enumerate(VALUES)), "utf-8", {}, ""),
    "date and clock": (
        lines((f"{STAMPS[i]:%Y-%m-%d},{STAMPS[i]:%H:%M},{v}" for i, v in enumerate(VALUES)), "date,clock,x"), "utf-8",
        {"time": ("date", "clock")}, ""),
    "preamble and trailing commas": (
        "Station,X\nNumber,490\nLatitude,44.6\nDatum,CD\n" + lines((f"{iso(i).replace('-', '/')},{v}," for i, v in enumerate(VALUES)),
                                                                 "Obs_date,x(m)"), "utf-8", {"column": "x(m)"}, "are no data"),
    "blank rows at the end": (lines([*(f"{iso(i)},{v}" for i, v in enumerate(VALUES)), ",", ",", ""]), "utf-8", {}, ""),
    "out of order and twice": (
        lines([f"{iso(i)},{v}" for i, v in sorted(enumerate(VALUES), key=lambda row: row[0] % 7)] + [f"{iso(3)},{VALUES[3]}"]), "utf-8", {},
        "have been sorted"),
    "comments": ("% made by a logger\n" + lines(f"{iso(i)},{v}" for i, v in enumerate(VALUES)), "utf-8",
                 {"table": TableOptions(comment="%")}, ""),
    "one of two": (
        lines((f"{iso(i)},{tx},{v if tx == 7 else 0}" for i, v in enumerate(VALUES) for tx in (7, 8)), "time,tx,x"), "utf-8",
        {"where": ("tx=7",)}, ""),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_same_record_however_it_is_written(tmp_path: Path, way: str) -> None:
    text, encoding, options, says = WAYS[way]
    path = tmp_path / "table.txt"
    path.write_bytes(text.encode(encoding))
    record = read_record(path, ReadOptions(**{"column": "x", **options}))
    assert record.grid.step_s == 3600.0
    assert record.grid.first_cell == T0 // 3600
    assert record.dated
    np.testing.assert_allclose(record.grid.values, VALUES)
    assert any(says in note for note in record.notes) or not says, record.notes


def test_packed_parquet_archives_and_frames(tmp_path: Path) -> None:
    frame = pd.DataFrame({"time": STAMPS, "x": VALUES})
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(WAYS["plain"][0].encode()))
    frame.to_parquet(tmp_path / "t.parquet")
    np.savez(tmp_path / "t.npz", time=T0 / 60 + 60 * np.arange(N), x=VALUES, start="2012-01-01")
    series = pd.Series(VALUES, index=STAMPS, name="x")
    for source, unit in (
        (tmp_path / "t.csv.gz", None), (tmp_path / "t.parquet", None), (tmp_path / "t.npz", "min since 1970-01-01"), (frame, None),
        (series, None), (frame.set_index("time"), None), (series.rename(None), None),
    ):
        record = read_record(source, ReadOptions(column="x", times=TimeOptions(unit=unit)))
        np.testing.assert_allclose(record.grid.values, VALUES)
        assert record.grid.first_cell == T0 // 3600


def test_rows_without_times_follow_each_other(tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    path.write_text("\n".join(map(str, VALUES)), encoding="utf-8")
    record = read_record(path, ReadOptions(column="1", time=("none",), step_s=600.0))
    np.testing.assert_allclose(record.grid.values, VALUES)
    assert not record.dated


@pytest.mark.parametrize("code", ["999", "-9999", "99.0"])
def test_a_code_for_missing_is_no_value(tmp_path: Path, code: str) -> None:
    """Nines far outside are taken for missing and said so; told codes count; --missing none keeps them and names them."""
    values = [code if i % 9 == 4 else f"{v}" for i, v in enumerate(VALUES)]
    path = tmp_path / "coded.csv"
    path.write_text(lines(f"{iso(i)},{v}" for i, v in enumerate(values)), encoding="utf-8")
    found = read_record(path, ReadOptions(column="x"))
    assert np.isnan(found.grid.values).sum() == len(range(4, N, 9))
    assert any("taken for missing" in note for note in found.notes)
    told = read_record(path, ReadOptions(column="x", missing=(code,)))
    np.testing.assert_array_equal(found.grid.values, told.grid.values)
    kept = read_record(path, ReadOptions(column="x", missing=("none",)))
    assert not np.isnan(kept.grid.values).any()


def test_a_far_value_is_named_and_kept(tmp_path: Path) -> None:
    values = [*VALUES[:-1], 4321.0]
    path = tmp_path / "far.csv"
    path.write_text(lines(f"{iso(i)},{v}" for i, v in enumerate(values)), encoding="utf-8")
    record = read_record(path, ReadOptions(column="x"))
    assert record.grid.values[-1] == 4321.0
    assert any("if it is a code for missing, say --missing 4321" in note for note in record.notes)


def test_a_clock_that_is_changed_is_told_by_its_zone(tmp_path: Path) -> None:
    """The night on which Amsterdam sets its clock back has an hour twice; in UTC every hour is there once."""
    stamps = pd.date_range("2012-10-27", periods=N, freq="h", tz="UTC").tz_convert("Europe/Amsterdam")
    path = tmp_path / "autumn.csv"
    path.write_text(lines(f"{s:%Y-%m-%d %H:%M},{v}" for s, v in zip(stamps, VALUES, strict=True)), encoding="utf-8")
    record = read_record(path, ReadOptions(column="x", times=TimeOptions(tz="Europe/Amsterdam")))
    np.testing.assert_allclose(record.grid.values, VALUES)
    blind = read_record(path, ReadOptions(column="x"))
    assert any("averaged with it" in note for note in blind.notes)
    with pytest.raises(DataError, match="is not a time zone"):
        read_record(path, ReadOptions(column="x", times=TimeOptions(tz="Amsterdam")))


def test_the_step_is_that_of_the_rows_or_fills_its_cells() -> None:
    rng = np.random.default_rng(0)
    regular = 600.0 * np.flatnonzero(rng.random(3000) < 0.5)  # half of the rows are missing
    assert chosen_step(regular, []) == 600.0
    notes: list[str] = []
    step = chosen_step(np.cumsum(rng.exponential(600.0, 3000)), notes)
    assert 1200 <= step <= 1800
    assert "irregular" in notes[0]
    irregular = np.cumsum(rng.exponential(600.0, 3000))
    cells = np.unique(irregular // step)
    assert len(cells) / (cells[-1] - cells[0] + 1) > 0.85


COMMANDS = {  # one command per file of the two folders, as docs/prediction.md prints them
    "sea/lake_superior_2018_link_detections_hourly.csv": ["--column", "detected", "--where", "tx=62215", "--where", "rx=482217"],
    "sea/halifax_sealevel_2003_hourly.csv": ["--column", "SLEV(metres)"],
    "sea/halifax_met_2003_09_hourly.csv": ["--column", "Wind Spd (km/h)", "--tz", "Etc/GMT+4"],
    "sea/honolulu_sealevel_2010_hourly.asc": ["--column", "2", "--time", "1", "--time-unit", "d since 1700-01-01"],
    "sea/sealevel_can1998_hourly.dtf": ["--column", "6", "--time", "2", "3", "4", "5", "--missing", "9.99"],
    "sea/ndbc_44005_2012_stdmet_hourly.dat": ["--column", "WSPD"],
    "sea/cumshewa_wind_2012_2016_hourly.csv": ["--column", "Speed", "--tz", "Etc/GMT+8"],
    "tide-nl/vlissingen_10min_2018q1.npz": ["--column", "level_m", "--time-unit", "min since 1970-01-01"],
    "tide-nl/vlissingen_hoekvanholland_hourly_1976_1990.npz": ["--column", "vlissingen_cm", "--time", "none", "--step", "1h"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_real_files_are_read_with_one_command_each(name: str, capsys) -> None:
    path = Path(os.environ.get("TOOLKIT_DATA") or "data") / name
    if not path.is_file():
        pytest.skip(f"needs {name} in TOOLKIT_DATA")
    assert main([str(path), *COMMANDS[name], "--predictor", "persistence", "--horizon", "3h", "--compare", "persistence", "--json"]) == 0
    assert '"rmse"' in capsys.readouterr().out


def test_the_commands_for_real_files_are_printed_in_the_docs() -> None:
    text = (Path(__file__).parent.parent / "docs" / "prediction.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert Path(name).name in text
