"""The script that puts nine systems on one page."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

from toolkit.scenario import Scenario
from toolkit.sweep import run, run_many

pytestmark = pytest.mark.usefixtures("undrawn_module")

SCENARIOS = Path(__file__).parents[1] / "scenarios"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(SCENARIOS))
    import one_ruler

    yield one_ruler
    for name in ("one_ruler", "sweeping"):
        sys.modules.pop(name, None)


def systems(script):
    sea = {"duration_s": 3600, "fabric.history_s": 7200, "fabric.layout.nodes": 8, "seeds": 2}
    return (
        script.System("DBCAR + kNN", "sea_trial", ("DBCAR-kNN", "DBR"), "delivery_ratio", ("decodes",), sea),
        script.System("gs-SGD", "gs_sgd", ("gs-SGD", "dense"), "final_accuracy", ("gradient", "all-reduce"),
                      {"program.steps": 2, "program.evaluate_every": 1, "fabric.workers": 2}),
    )


def test_rows_are_what_the_runs_say_and_a_second_call_runs_nothing(script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = systems(script)
    runs = script.measure(tmp_path / "out", systems=both)
    table = script.by_arm(runs, both)
    assert list(table["arm"]) == ["DBCAR-kNN", "DBR", "gs-SGD", "dense"]
    told = pd.read_csv(tmp_path / "out" / "gs_sgd" / "report.csv").set_index(["arm", "seed", "metric"])["value"]
    rows = runs.set_index(["arm", "seed"])
    for arm in ("gs-SGD", "dense"):
        for seed in (1, 2):
            mine = rows.loc[(arm, seed)]
            assert mine["value"] == told[arm, seed, "final_accuracy"]
            assert mine["simulated_s"] == told[arm, seed, "end_s"]
            assert mine["energy_j"] == pytest.approx(told[arm, seed, "energy_total_j"], rel=1e-12)
            assert mine["sent_bytes"] == told[arm, seed, "bytes_total"]
            assert mine["flops"] > 0
            idle = told[arm, seed, "energy_idle_j"]
            assert mine["energy_active_j"] <= mine["energy_j"] - idle * (1 - 1e-12)  # links that wait are left out too
    assert (rows.loc["DBCAR-kNN", "simulated_s"] == 3600).all()
    held = pd.read_csv(SCENARIOS.parent / "data" / "ruler" / "machine.csv")
    ratios = held.loc[held["kind"].isin(["gradient", "all-reduce"]), "ratio"]
    assert list(table["ruler_low"][2:]) == [ratios.min()] * 2
    assert list(table["ruler_high"][2:]) == [ratios.max()] * 2

    def refuse(*_: object) -> None:
        raise AssertionError("nothing is left to run")

    monkeypatch.setattr("toolkit.sweep.run_job", refuse)
    assert script.measure(tmp_path / "out", systems=both).equals(runs)
    script.draw(table, runs, tmp_path / "all.png")
    assert (tmp_path / "all.png").stat().st_size > 10_000
    assert "gs-SGD" in script.printed(table)


def test_every_system_is_a_scenario_that_can_be_run(script) -> None:
    assert len(script.SYSTEMS) == 9
    for system in script.SYSTEMS:
        small = script.scenario_of(system, full=False, seeds=None)
        assert tuple(small.compare) == system.arms
        assert system.arms[0] == next(iter(small.compare))


def test_an_unknown_system_is_one_sentence(script, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(["--systems", "sea", "--out", str(tmp_path / "x")]) == 2
    assert capsys.readouterr().err.startswith("error: --systems sea: must be one of sea_trial, gs_sgd")
    assert not (tmp_path / "x").exists()


def test_scenarios_in_one_pool_leave_what_each_alone_leaves(tmp_path: Path) -> None:
    small = {"program.steps": 2, "program.evaluate_every": 1, "fabric.workers": 2, "seeds": 1, "quick": {}}
    ours = {
        name: Scenario.load(SCENARIOS / "gs_sgd.yaml", {**small, "compare": {"one": {"program.lr": rate}}, "name": name})
        for name, rate in (("slow", 0.01), ("fast", 0.3))
    }
    run_many(ours, out=tmp_path / "both", jobs=1)
    for name, scenario in ours.items():
        run(scenario, out=tmp_path / name)
        for file in ("report.csv", "summary.csv", "runs/one-s1.json"):
            assert (tmp_path / "both" / name / file).read_bytes() == (tmp_path / name / file).read_bytes()
