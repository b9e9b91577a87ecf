"""The sweep scripts: one table, one figure, points that are run once, and constant density that is constant."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from toolkit.render.result import Result

SCENARIOS = Path(__file__).parents[1] / "scenarios"
QUICK = ["--quick", "--arms", "DBR", "flooding"]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch):
    """Import a script of the scenarios' folder as running it would; the points' own figures, tested elsewhere, are not drawn."""
    monkeypatch.setattr(Result, "write_figures", lambda self: {})
    monkeypatch.syspath_prepend(str(SCENARIOS))
    yield importlib.import_module
    for name in ("sweeping", "sweep_density", "sweep_wind", "sweep_sketches"):
        sys.modules.pop(name, None)


def test_a_sweep_ends_in_one_table_and_one_figure(script, tmp_path: Path, capsys) -> None:
    density = script("sweep_density")
    density.run([*QUICK, "--only", "load", "--out", str(tmp_path)])
    table = pd.read_parquet(tmp_path / "sweep.parquet")
    assert list(table.columns) == [
        "sweep", "nodes", "sinks", "side_m", "load_per_s", "source_level_db", "arm", "seed", "metric", "unit", "value"
    ]
    pd.testing.assert_frame_equal(table, pd.read_csv(tmp_path / "sweep.csv", dtype={"unit": str}), check_dtype=False)
    runs = table[table.metric == "delivery_ratio"]
    assert len(runs) == 2 * 2 * 2  # loads x arms x seeds
    assert runs.value.between(0, 1).all()
    created = table[table.metric == "generated"].groupby("load_per_s").value.mean()
    assert created[0.2] > 2 * created[0.05]
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
    out = capsys.readouterr().out
    assert "load: delivery ratio, mean ± half of the 95 % interval over 2 seeds" in out
    assert "DBR minus the others, paired by seed" in out
    assert out.count("| flooding |") == 3

    def finished() -> dict[str, float]:
        return {path.parent.name: path.stat().st_mtime for path in tmp_path.glob("*/DONE")}

    before = finished()
    assert len(before) == 2
    (tmp_path / "n12-a4.00km-l0.2-s136" / "DONE").unlink()  # as if it had been stopped there
    (tmp_path / "n12-a4.00km-l0.2-s136" / "runs" / "flooding-s2.json").unlink()
    density.run([*QUICK, "--only", "load", "--out", str(tmp_path)])
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "sweep.parquet"), table)
    changed = [name for name, when in finished().items() if when != before[name]]
    assert changed == ["n12-a4.00km-l0.2-s136"]


def test_the_wind_takes_what_it_takes(script, tmp_path: Path) -> None:
    wind = script("sweep_wind")
    wind.run([*QUICK, "--out", str(tmp_path), "--winds", "2", "25"])
    table = pd.read_parquet(tmp_path / "sweep.parquet")
    delivered = table[table.metric == "delivery_ratio"].groupby(["arm", "wind_m_s"]).value.mean()
    for arm in ("DBR", "flooding"):
        assert delivered[arm, 2.0] > delivered[arm, 25.0] + 0.2


def test_the_density_is_constant_where_it_says_so(script) -> None:
    density = script("sweep_density")
    for nodes in density.NODES:
        point = density.point(nodes, 0.05, 136, growing=True)
        layout = {key.rpartition(".")[2]: value for key, value in point.overrides.items() if "layout" in key}
        assert nodes / (layout["width_m"] * layout["length_m"]) == pytest.approx(100 / 4000**2)
        assert layout["sinks"] / nodes == pytest.approx(0.04)
        assert nodes / point.overrides["program"]["interval_s"] == pytest.approx(0.05)
    assert density.point(100, 0.05, 136, growing=True).name == density.point(100, 0.05, 136).name


@pytest.mark.parametrize(("arguments", "says"), [
    (["--arms", "DBQ"], "--arms DBQ: must be one of DBCAR-kNN"),
    (["--arms", "X={type: dbrr}"], "did you mean 'dbr'?"),
    (["--seeds", "0"], "seeds"),
])
def test_a_mistake_gets_one_sentence(script, tmp_path: Path, capsys, arguments: list[str], says: str) -> None:
    wind, sweeping = script("sweep_wind"), script("sweeping")
    assert sweeping.told(lambda: wind.run(["--winds", "5", "--out", str(tmp_path), *arguments])) == 2
    err = capsys.readouterr().err
    assert says in err.splitlines()[-1]
    assert err.splitlines()[-1].startswith("error: ")


def test_points_of_other_settings_are_not_taken_for_ours(script, tmp_path: Path, capsys) -> None:
    wind, sweeping = script("sweep_wind"), script("sweeping")
    (tmp_path / "w5-n40-l0.02-s136").mkdir()
    run = ["--winds", "5", "--out", str(tmp_path), "--arms", "DBR", "--seeds", "1", "--duration", "1300"]
    wind.run(run)
    assert sweeping.told(lambda: wind.run([*run, "--seeds", "2"])) == 2
    assert "holds a point of other settings" in capsys.readouterr().err
    assert np.isfinite(pd.read_csv(tmp_path / "sweep.csv").value).any()


@pytest.mark.slow
def test_learning_at_sea_is_swept(script, tmp_path: Path, capsys) -> None:
    sketches = script("sweep_sketches")
    arms = ["--arms", "signSGD-DBCAR", "one-board-alone"]
    sketches.run(["--quick", "--only", "rate", *arms, "--out", str(tmp_path)])
    table = pd.read_parquet(tmp_path / "sweep.parquet")
    air = table[table.metric == "air_bytes_per_node"].groupby(["arm", "rate_bps"]).value.mean()
    assert set(air.index.get_level_values(1)) == {4800, 19200}
    assert (air["signSGD-DBCAR"] > air["one-board-alone"]).all()
    assert "rate: final accuracy, mean ± half of the 95 % interval over 2 seeds" in capsys.readouterr().out
