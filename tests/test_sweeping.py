"""A grid of settings as arms, and run directories side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import toolkit
from tests.test_simulate import TINY, tiny
from toolkit.across import PAIRED, UNPAIRED, welch
from toolkit.arms import grid, parse_values, short_names
from toolkit.commands import comparing, front
from toolkit.core import yaml12
from toolkit.errors import RunDirectoryError, ScenarioError
from toolkit.scenario import Scenario

pytestmark = pytest.mark.usefixtures("undrawn_module")

NODES, MAC = "fabric.layout.nodes", "fabric.mac"


@pytest.fixture
def plain(tmp_path: Path) -> Scenario:
    return Scenario.load(tiny(tmp_path), {"compare": {}})


# Grids


def test_every_combination_is_an_arm_named_after_its_values(plain: Scenario) -> None:
    found = grid(plain, {NODES: [6, 8], MAC: ["csma", {"type": "aloha", "queue_limit": 9}]})
    assert list(found.compare) == ["nodes_6+mac_csma", "nodes_6+mac_aloha", "nodes_8+mac_csma", "nodes_8+mac_aloha"]
    arms = found.arms()
    assert [arm.fabric.layout.nodes for arm in arms.values()] == [6, 6, 8, 8]  # type: ignore[attr-defined]
    assert arms["nodes_6+mac_aloha"].fabric.mac.queue_limit == 9  # type: ignore[attr-defined]
    assert found.home == plain.home
    assert plain.compare == {}


def test_arms_that_are_there_run_at_every_point(tmp_path: Path) -> None:
    path = tiny(tmp_path)
    found = grid(path, {NODES: [6, 8]})
    assert list(found.compare) == [f"{arm}+nodes_{n}" for arm in ("DBCAR-kNN", "DBCAR-persistence", "flooding") for n in (6, 8)]
    assert list(grid(path, {NODES: [6, 8]}, arms=["flooding"]).compare) == ["flooding+nodes_6", "flooding+nodes_8"]
    routed = grid(path, {"fabric.routing": ["dbr", "vbf"]}, arms=["flooding"]).arms()
    assert [arm.fabric.routing.type_name() for arm in routed.values()] == ["dbr", "vbf"]  # type: ignore[attr-defined]


def test_a_grid_of_one_value_is_that_setting(plain: Scenario) -> None:
    (arm,) = grid(plain, {NODES: [7]}).arms().values()
    assert arm.dump() == {**plain.changed({NODES: 7}).dump(), "compare": {}, "quick": {}}


def test_names_are_as_short_as_tells_them_apart() -> None:
    paths = ["fabric.layout.nodes", "fabric.routing.k", "program.k", "seed"]
    assert list(short_names(paths).values()) == ["nodes", "routing.k", "program.k", "seed"]


@pytest.mark.parametrize(("values", "labels"), [
    ([0.5, 1e-6], ["0.5", "1e-06"]), ([True, False], ["true", "false"]), ([None, 3], ["none", "3"]), (["a b/c", "d"], ["a-b-c", "d"]),
    (["./board.yaml", "raspberry_pi_4"], ["board", "raspberry_pi_4"]), ([[1, 2], [3]], ["1-2", "3"]),
    ([{"type": "knn", "k": 3}, {"type": "knn", "k": 5}, "ar"], ["knn.1", "knn.2", "ar"]),
], ids=str)
def test_values_have_names_that_files_can_have(values: list[Any], labels: list[str]) -> None:
    from toolkit.arms import _labels
    from toolkit.scenario import FILE_NAME

    assert _labels(values) == labels
    assert all(FILE_NAME.fullmatch(f"x_{label}") for label in labels)


@pytest.mark.parametrize(("text", "values"), [
    ("fabric.layout.nodes=1,2,3", [1, 2, 3]), ("fabric.mac=csma, aloha", ["csma", "aloha"]), ("program.x=[1, 2],[3]", [[1, 2], [3]]),
    ("program.x={type: a, k: 2},b", [{"type": "a", "k": 2}, "b"]), ("program.x=3", [3]), ('program.x="a,b",c', ["a,b", "c"]),
])
def test_values_of_the_command_line_are_yaml_with_commas(text: str, values: list[Any]) -> None:
    assert parse_values(text) == (text.partition("=")[0], values)


@pytest.mark.parametrize(("values", "says"), [
    ({NODES: []}, "fabric.layout.nodes: needs a list of values"), ({MAC: "csma"}, "fabric.mac: needs a list of values, and is 'csma'"),
    ({NODES: [6, -1]}, r"compare.nodes_-1: fabric.layout.nodes: input should be greater"), ({"seeds": [1, 2]}, "belongs to the comparison"),
    ({"fabric.nope": [1, 2]}, r"compare.nope_1: fabric: unknown key 'nope'"), ({NODES: list(range(20_000))}, "the grid has 20000 arms"),
    ({NODES: [1, 1]}, None),
], ids=["empty", "no list", "wrong value", "seeds", "unknown key", "too many", "twice"])
def test_a_grid_that_cannot_be_is_told(plain: Scenario, values: dict[str, Any], says: str | None) -> None:
    if says is None:  # the same value twice is two arms of two names
        assert list(grid(plain, values).compare) == ["nodes_1.1", "nodes_1.2"]
        return
    with pytest.raises(ScenarioError, match=says):
        grid(plain, values)


def test_an_arm_that_is_none_is_told(plain: Scenario) -> None:
    with pytest.raises(ScenarioError, match=r"^DBR: the scenario has no such arm \(has: none\)$"):
        grid(plain, {NODES: [6, 8]}, arms=["DBR"])


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A sweep through the command, and the same from Python."""
    folder = tmp_path_factory.mktemp("swept")
    path = tiny(folder, seeds=1)
    words = ["--set", f"{NODES}=6,8", "--set", "program.nbytes=32", "--arm", "flooding", "--jobs", "1", "--quiet"]
    assert front.main(["sweep", str(path), *words, "--out", str(folder / "sweep")]) == 0
    toolkit.run(toolkit.grid(path, {NODES: [6, 8]}, arms=["flooding"]), set={"program.nbytes": 32}, out=folder / "python")
    return folder / "sweep", folder / "python"


def test_a_sweep_is_a_run_of_its_grid(swept: tuple[Path, Path]) -> None:
    command, python = swept
    assert (command / "report.csv").read_bytes() == (python / "report.csv").read_bytes()
    assert yaml12.read(command / "scenario.yaml")["name"] == "sea_trial-sweep"
    assert toolkit.load(command).arms == ["flooding+nodes_6", "flooding+nodes_8"]


def test_a_sweep_over_nothing_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert front.main(["sweep", str(tiny(tmp_path)), "--set", f"{NODES}=6"]) == 2
    assert capsys.readouterr().err.startswith("error: --set: give a setting several values to sweep over")


# Side by side


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One scenario with two MACs; the same with other nodes; and with other seeds."""
    folder = tmp_path_factory.mktemp("runs")
    arms = {"flooding": {"fabric.routing": "flooding"}, "DBR": {"fabric.routing": {"type": "dbr", "range_m": 1500}}}
    base = Scenario.load(tiny(folder, seeds=2), {"compare": arms})
    both = {"whole": {}, "aloha": {"fabric.mac": "aloha"}, "fewer": {NODES: 5}, "later": {"seed": 7}}
    for name, overrides in both.items():
        toolkit.run(base, set=overrides, out=folder / name)
    return {name: folder / name for name in both}


def test_runs_of_one_world_are_paired(runs: dict[str, Path]) -> None:
    """The differences are those of the tables, seed by seed."""
    found = toolkit.compare(runs["whole"], runs["aloha"])
    assert set(found.differences["how"]) == {PAIRED}
    assert found.notes() == []
    one, two = (toolkit.load(runs[name]).report for name in ("whole", "aloha"))
    for row in found.differences.to_dict("records"):
        values = [frame[(frame.arm == row["arm"]) & (frame.metric == row["metric"])].set_index("seed").value for frame in (one, two)]
        assert row["mean"] == pytest.approx((values[0] - values[1]).mean(), abs=1e-9, nan_ok=True)
    assert set(zip(found.differences.arm, found.differences.other_arm, strict=True)) == {("flooding", "flooding"), ("DBR", "DBR")}


def test_a_run_is_no_different_from_its_copy(runs: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    shutil.copytree(runs["whole"], tmp_path / "copy")
    found = toolkit.compare(runs["whole"], tmp_path / "copy").differences
    assert (found["mean"].dropna() == 0).all()
    assert (found["ci95_high"].dropna() == 0).all()


@pytest.mark.parametrize(("other", "why"), [("fewer", "they differ in fabric.layout"), ("later", "they share no seeds")])
def test_runs_of_other_worlds_are_not_paired_and_it_is_said_why(runs: dict[str, Path], other: str, why: str) -> None:
    found = toolkit.compare(runs["whole"], runs[other])
    assert set(found.differences["how"]) == {UNPAIRED}
    assert any(why in note for note in found.notes())


def test_the_unpaired_interval_is_welchs() -> None:
    """Held against scipy's own test."""
    from scipy import stats

    rng = np.random.default_rng(1)
    mine, theirs = rng.normal(3, 1, 6), rng.normal(2, 3, 9)
    expected = stats.ttest_ind(mine, theirs, equal_var=False).confidence_interval(0.95)
    mean, low, high, n = welch(mine, theirs)
    assert (low, high) == pytest.approx((expected.low, expected.high))
    assert (mean, n) == (pytest.approx(mine.mean() - theirs.mean()), 6)
    assert welch(np.ones(3), np.ones(3)) == (0.0, 0.0, 0.0, 3)
    assert np.isnan(welch(np.ones(1), theirs)[1])


def test_the_summary_is_that_of_each_run(runs: dict[str, Path]) -> None:
    found = toolkit.compare(*runs.values())
    for name, path in runs.items():
        own = found.summary[found.summary.run == name].drop(columns="run").reset_index(drop=True)
        pd.testing.assert_frame_equal(own, toolkit.load(path).summary)


def test_the_command_prints_both(runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert comparing.main([str(runs["whole"]), str(runs["fewer"])]) == 0
    out = capsys.readouterr().out
    assert "whole − fewer" in out
    assert "unpaired, n = 2" in out
    assert "since they differ in fabric.layout" in " ".join(out.split())
    assert comparing.main([str(runs["whole"]), str(runs["aloha"]), "--csv"]) == 0
    assert capsys.readouterr().out.startswith("metric,unit,run,arm,other_run,other_arm,mean,ci95_low,ci95_high,n,how\n")
    assert comparing.main([str(runs["whole"]), str(runs["aloha"]), "--metric", "delivery_rato"]) == 2
    assert "no run has it; did you mean 'delivery_ratio'?" in capsys.readouterr().err


def test_what_cannot_be_compared_is_told(runs: dict[str, Path], tmp_path: Path) -> None:
    for paths, says in (((runs["whole"],), "two run directories or more"), ((runs["whole"], runs["whole"]), "named twice"),
                        ((runs["whole"], tmp_path), r"holds no report\.csv")):
        with pytest.raises(RunDirectoryError, match=says):
            toolkit.compare(*paths)


def test_settings_from_python_are_those_of_the_command_line(tmp_path: Path) -> None:
    path = tiny(tmp_path)
    overrides = {NODES: 6, "fabric.routing": {"type": "dbr", "range_m": 900}, "seeds": 3}
    assert Scenario.load(path).changed(overrides) == Scenario.load(path, overrides)
    assert TINY[NODES] == 8  # so that the setting changes something
