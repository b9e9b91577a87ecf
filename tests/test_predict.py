"""python -m toolkit.predict: what it says about a CSV, and about a bad one."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.acoustic.prediction.series import series_a
from toolkit.acoustic.prediction.compare import ORIGINS, Grid, compare
from toolkit.acoustic.prediction.evaluate import brier, diebold_mariano, errors, rolling
from toolkit.acoustic.prediction.knn import Knn
from toolkit.acoustic.prediction.persistence import Persistence
from toolkit.predict import main, span_s, span_text
from toolkit.predict.reading import ReadOptions, read_record

STEP_S = 1800


def write(path: Path, rows, header: str = "time,snr_db") -> Path:
    path.write_text(header + "\n" + "\n".join(",".join(map(str, row)) for row in rows) + "\n", encoding="utf-8")
    return path


def read_grid(source, column: str, time: str, step_s: float | None) -> Grid:
    return read_record(source, ReadOptions(column=column, time=(time,), step_s=step_s)).grid


@pytest.fixture
def tide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # figures go to the working folder
    return write(tmp_path / "tide.csv", [(i * STEP_S, round(v, 2)) for i, v in enumerate(series_a(0, 10))])


def run_json(capsys, *arguments) -> list[dict]:
    assert main([*map(str, arguments), "--json"]) == 0
    out = capsys.readouterr()
    assert out.err == ""
    return json.loads(out.out)


def test_json_holds_one_object_per_predictor_and_horizon(tide: Path, capsys) -> None:
    rows = run_json(capsys, tide, "--horizon", "1h", "3h", "--compare", "ar", "--set", "knn.k=8")
    assert [(row["predictor"], row["horizon_s"]) for row in rows] == [
        (name, h) for h in (3600.0, 10_800.0) for name in ("knn", "persistence", "ar")
    ]
    values = series_a(0, 10).round(2)
    part = Knn(k=8)
    gaps = {
        name: errors(values, rolling(one, values, 336, (6,))[6]) for name, one in (("knn", part), ("persistence", Persistence()))
    }
    knn, still = rows[3], rows[4]
    assert knn["rmse"] == pytest.approx(math.sqrt(np.mean(gaps["knn"] ** 2)))
    assert knn["skill"] == pytest.approx(1 - knn["rmse"] / still["rmse"])
    assert knn["dm_p"] is None
    assert still["dm_p"] == pytest.approx(diebold_mariano(gaps["knn"], gaps["persistence"], 6))
    assert still["next_mean"] == values[-1]
    assert 0.7 < knn["coverage90"] <= 1.0
    assert {"mae", "bias", "crps", "n", "next_std", "against", "at", "mean", "low90", "high90", "holm_p", "fell_back"} <= set(knn)
    assert knn["low90"] < knn["mean"] == knn["next_mean"] < knn["high90"]
    assert knn["at"] == (480 - 1 + 6 + 0.5) * STEP_S
    assert knn["fell_back"] == 0.0
    assert knn["brier"] is None
    assert knn["nrmse"] == pytest.approx(knn["rmse"] / np.std(values[-still["n"] :]), rel=1e-9)


def test_whether_a_frame_gets_through_is_scored(tide: Path, capsys) -> None:
    """The Brier score of sure forecasts is the share of wrong ones; that of the base rate is its variance."""
    sure = brier(np.array([9.0, 11.0, 12.0, 8.0]), np.zeros(4), np.array([9.0, 9.0, 12.0, 12.0]), 10.0)
    assert sure == pytest.approx(0.5)
    assert brier(np.full(4, 10.0), np.ones(4), np.array([9.0, 11.0, 12.0, 8.0]), 10.0) == pytest.approx(0.25)
    knn, still = run_json(capsys, tide, "--horizon", "3h", "--compare", "persistence", "--threshold", "35")
    assert 0.0 < knn["brier"] < still["brier"] < 0.5
    assert main([str(tide), "--horizon", "3h", "--compare", "persistence", "--threshold", "35"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "Brier" in out
    assert "the first forecast has 7.0 days to go by, less than the 14.8 days" in out


def test_tables_and_a_figure(tide: Path, tmp_path: Path, capsys) -> None:
    assert main([str(tide), "--horizon", "3h"]) == 0
    out = capsys.readouterr().out
    assert "3 h ahead" in out
    assert "harmonic" in out
    assert "480 samples in 480 cells of 30 min, 0 of them missing" in " ".join(out.split())
    assert (tmp_path / "tide-forecasts.png").read_bytes().startswith(b"\x89PNG")


def test_json_draws_only_when_asked_to(tide: Path, tmp_path: Path, capsys) -> None:
    run_json(capsys, tide, "--compare", "ewma")
    assert not list(tmp_path.glob("*.png"))
    run_json(capsys, tide, "--compare", "ewma", "--figure", tmp_path / "deep" / "f.png")
    assert (tmp_path / "deep" / "f.png").exists()


def test_all_compares_everything_but_the_oracle(tmp_path: Path, capsys) -> None:
    path = write(tmp_path / "short.csv", [(i * STEP_S, round(v, 2)) for i, v in enumerate(series_a(1, 4))])
    names = {row["predictor"] for row in run_json(capsys, path, "--compare", "all", "--horizon", "1h")}
    assert {"knn", "knn_compressed", "arma", "seasonal_ar", "kalman_trend", "rls", "nlms", "holt", "harmonic_ls"} <= names
    assert "oracle" not in names


def test_times_may_be_dates_and_cells_may_be_empty(tmp_path: Path) -> None:
    """Three rows per hour are averaged; an hour without a number is missing; the clock is UTC."""
    rows = []
    for hour in range(48):
        for minute, value in ((0, hour), (20, hour + 1), (40, "")):
            rows.append((f"2024-05-{1 + hour // 24:02d}T{hour % 24:02d}:{minute:02d}", "NaN" if hour == 7 else value))
    grid = read_grid(write(tmp_path / "dates.csv", rows, "when,x"), "x", "when", 3600.0)
    assert len(grid.values) == 48
    assert grid.values[3] == 3.5
    assert math.isnan(grid.values[7])
    assert grid.first_cell == 1_714_521_600 // 3600
    assert grid.samples == 94


def test_the_grid_is_that_of_the_rows_when_none_is_given(tmp_path: Path) -> None:
    times = np.cumsum([600] * 50 + [6000] + [600] * 50)
    grid = read_grid(write(tmp_path / "gap.csv", [(t, i) for i, t in enumerate(times)], "time,x"), "x", "time", None)
    assert grid.step_s == 600.0
    assert np.isnan(grid.values).sum() == 9


def test_long_records_are_sampled(tmp_path: Path) -> None:
    values = 10 + np.random.default_rng(1).standard_normal(8000)
    grid = read_grid(write(tmp_path / "long.csv", enumerate(values), "time,x"), "x", "time", None)
    found = compare({"persistence": Persistence(step_s=1.0)}, grid, (1,), 0.5, "persistence")
    assert found.stride == 7
    assert 4000 // 7 <= found.scores[0].n <= ORIGINS


def test_columns_beside_the_series_are_used(tmp_path: Path, capsys) -> None:
    rng = np.random.default_rng(3)
    tide = np.cos(2 * np.pi * np.arange(600) / 24.84)
    ship = np.repeat(rng.integers(0, 2, 100), 6)
    rows = [(i * STEP_S, round(10 + 3 * t + 5 * s + 0.3 * e, 3), t, s) for i, (t, s, e) in enumerate(
        zip(tide, ship, rng.standard_normal(600), strict=True)
    )]
    path = write(tmp_path / "sea.csv", rows, "time,snr_db,tide,ship")
    common = (path, "--predictor", "seasonal_ar", "--compare", "ar", "--horizon", "2h")
    blind = run_json(capsys, *common)[0]
    told = run_json(capsys, *common, "--exogenous", "tide", "ship", "--known-ahead", "tide", "ship")[0]
    assert told["rmse"] < 0.5 < blind["rmse"]
    assert told["next_mean"] is None  # nobody said what the tide is after the end of the file
    assert blind["next_mean"] is not None


@pytest.mark.parametrize(("text", "arguments", "says"), [
    ("", [], "is empty"),
    ("time,snr_db\n", [], "has a header and no rows"),
    ("time,snr\n0,1\n", [], "line 1: has no column 'snr_db'; did you mean 'snr'?"),
    ("a,snr_db\n0,1\n", [], "has no column 'time'"),
    ("time,snr_db\n0,1\n1,high\n", [], "line 3: column 'snr_db' holds 'high'"),
    ("time,snr_db\n0,1\n1,inf\n", [], "line 3: column 'snr_db' holds 'inf'"),
    ("time,snr_db\n0,1\n1\n", [], "line 3: has 1 cells, and the header has 2"),
    ("time,snr_db\nyesterday,1\n", [], "line 2: column 'time' holds 'yesterday'"),
    ("time,tx,snr_db\n" + "".join(f"{i},{x},{i}\n" for i in range(50) for x in "ab"), [], "with --where, for example --where tx=a"),
    ("time,snr_db\n" + "".join(f"{736_000 + i / 144:.6f},{i}\n" for i in range(99)), [], "may be days since year 0 (MATLAB)"),
    ("time,snr_db\n" + "".join(f"{40_000 + i / 144:.6f},{i}\n" for i in range(99)), [], "may be days since 1899-12-30 (Excel)"),
    ("time,snr_db\n" + "".join(f"{2012 + i / 8784:.8f},{i}\n" for i in range(99)), [], "may be decimal years, that is 2012-01-01 00:00"),
    ("time,snr_db\n" + "".join(f"{i / 24:.6f},{i}\n" for i in range(99)), [], "which is 60 min if these are days"),
    ("time,snr_db\n" + "".join(f"{i * 600_000},{i}\n" for i in range(99)), [], "which is 10 min if these are milliseconds"),
    ("time,snr_db\n" + "".join(f"0{2 + i % 8}/0{1 + i // 8}/2012,{i}\n" for i in range(72)), [], "may be 02 January 2012 or 01 February"),
    ("time,snr_db\n0,1\n1,2\n2,3\n", [], "spans 3 cells of 1 s, and at least 40 are needed"),
    ("time,snr_db\n0,\n1,nan\n", [], "column 'snr_db' holds no number"),
    ("time,snr_db\n" + "".join(f"{i},{'' if i % 9 else i}\n" for i in range(100)), [], "holds 12 numbers, and at least 20 are needed"),
    ("time,snr_db,snr_db\n0,1,2\n", [], "line 1: column 'snr_db' is there 2 times"),
    ("time,snr_db\n1e15,1\n1e30,2\n", [], "which is no date; --time-unit says what is counted"),
    ("time,snr_db\n0,1\n1000000,2\n", ["--step", "1s"], "spans 1000001 cells of 1 s, over 200000"),
])
def test_a_bad_file_gets_one_sentence(tmp_path: Path, capsys, text: str, arguments: list[str], says: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text, encoding="utf-8")
    assert main([str(path), *arguments]) == 2
    out = capsys.readouterr()
    assert out.out == ""
    assert says in out.err
    assert out.err.startswith("error: ")
    assert out.err.count("\n") == 1


@pytest.mark.parametrize(("arguments", "says"), [
    (["--horizon", "soon"], "--horizon soon: must be a span"),
    (["--horizon", "1min"], "--horizon 1min: is below half of the grid step of 1800 s"),
    (["--horizon", "30d"], "give a shorter --horizon"),
    (["--step", "0h"], "--step 0h: must be a span"),
    (["--history", "1.5"], "--history 1.5: must be above 0 and below 1"),
    (["--predictor", "knnn"], "'knnn' is not a predictor; did you mean 'knn'?"),
    (["--compare", "oracle"], "'oracle' is not a predictor"),
    (["--set", "knn.kk=3"], "unknown key 'kk'"),
    (["--set", "knn.k=0"], "knn.k: input should be greater than or equal to 1 (got 0)"),
    (["--set", "knn"], "--set knn: must look like predictor.name=value"),
    (["--set", "rls.order=3"], "--set rls.order=3: 'rls' is not among the predictors compared"),
    (["--exogenous", "wind"], "has no column 'wind'"),
    (["--known-ahead", "wind"], "--known-ahead wind: is not among the columns of --exogenous"),
    (["--predictor", "ewma", "ar", "--exogenous", "snr_db"], "none of ewma, ar, persistence uses columns beside the series"),
    (["--figure", "{here}/tide.csv/f.png"], "the figure cannot be written"),
])
def test_a_bad_argument_gets_one_sentence(tide: Path, capsys, arguments: list[str], says: str) -> None:
    arguments = [argument.format(here=tide.parent) for argument in arguments]
    base = [] if "--predictor" in arguments else ["--predictor", "knn"]
    assert main([str(tide), *base, *arguments]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1


def test_a_missing_file_gets_one_sentence(tmp_path: Path, capsys) -> None:
    assert main([str(tmp_path / "none.csv")]) == 2
    assert "none.csv: cannot be read" in capsys.readouterr().err


def test_spans() -> None:
    assert [span_s("--step", text) for text in ("90", "90s", "30min", "1.5 h", "2d")] == [90.0, 90.0, 1800.0, 5400.0, 172_800.0]
    assert [span_text(s) for s in (45.0, 1800.0, 10_800.0)] == ["45 s", "30 min", "3 h"]


def test_help_loads_nothing_heavy() -> None:
    code = (
        "from toolkit.predict import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "import sys; sys.stderr.write(' '.join(sys.modules))"
    )
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr.split())
    assert not loaded & {"torch", "pandas", "matplotlib", "numpy", "scipy", "simpy", "pydantic", "numba"}


def test_it_runs_as_a_module(tide: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "toolkit.predict", str(tide), "--horizon", "1h", "--compare", "ewma", "--json"],
        capture_output=True, text=True, check=True,
    )
    assert len(json.loads(done.stdout)) == 3
