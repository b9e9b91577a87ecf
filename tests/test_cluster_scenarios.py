"""Every scenario of the cluster, from its file to its report, in small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from toolkit.scenario import Scenario
from toolkit.sweep import run

FOLDER = Path(__file__).parents[1] / "scenarios"
SMALL = {"seeds": 1, "program.steps": 8, "program.evaluate_every": 4, "program.task.model.options": {"width": 4}}
ARMS = (
    "gs-SGD", "dense", "parameter-server", "Top-k", "gTop-k", "Sketched-SGD", "FetchSGD", "Random-k", "QSGD", "TernGrad", "signSGD",
    "EF-signSGD", "1-bit", "PowerSGD", "DGC", "local-SGD", "ARC-Top-k",
)


@pytest.mark.parametrize("name", ["gs_sgd", "straggler", "worker_crash"])
def test_a_scenario_gives_its_report(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if name != "gs_sgd":  # theirs are the same figures, of fewer arms
        request.getfixturevalue("undrawn")
    overrides: dict[str, Any] = dict(SMALL)
    scenario = Scenario.load(FOLDER / f"{name}.yaml", overrides, quick=True)
    result = run(scenario, out=tmp_path / "run")
    report = result.report.pivot(index="arm", columns="metric", values="value")
    assert set(report.index) == set(scenario.compare)
    assert report["final_accuracy"].between(0, 1).all()
    assert (report[["end_s", "energy_total_j", "bytes_total"]] > 0).all(axis=None)
    assert (tmp_path / "run" / "DONE").exists()
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    assert pd.read_csv(tmp_path / "run" / "summary.csv")["n"].max() == 1


def test_the_arms_are_called_after_their_methods() -> None:
    scenario = Scenario.load(FOLDER / "gs_sgd.yaml")
    assert tuple(scenario.compare) == ARMS
    assert scenario.seeds == 5
    arms: dict[str, Any] = scenario.arms()
    budgets = {(arm.program.steps, arm.program.batch, arm.program.decay, arm.program.task.model_dump_json()) for arm in arms.values()}
    assert len(budgets) == 1


@pytest.mark.parametrize("name", sorted(path.stem for path in (FOLDER / "paper").glob("gs_sgd_*.yaml")))
def test_paper_settings_are_whole(name: str) -> None:
    scenario = Scenario.load(FOLDER / "paper" / f"{name}.yaml")
    assert scenario.arms()


@pytest.mark.usefixtures("undrawn")
def test_two_processes_and_one_give_the_same_bytes(tmp_path: Path) -> None:
    overrides = {**SMALL, "seeds": 2, "compare": {"gs-SGD": {}, "QSGD": {"program.method": "qsgd"}}}
    scenario = Scenario.load(FOLDER / "gs_sgd.yaml", overrides)
    for jobs in (1, 2):
        run(scenario, out=tmp_path / str(jobs), jobs=jobs)
    for file in ("report.csv", "ledger/gs-SGD-s1-000.parquet", "requests/QSGD-s2.parquet"):
        assert (tmp_path / "1" / file).read_bytes() == (tmp_path / "2" / file).read_bytes()


def test_three_links_have_the_same_arms() -> None:
    """VGG-16's prices: every way of exchanging at 1, 10 and 100 Gbit/s, nothing learnt."""
    scenario = Scenario.load(FOLDER / "vgg16_links.yaml", quick=True)
    scenario.check()
    names = [{name.rpartition("-")[0] for name in scenario.compare if name.endswith(f"-{link}")} for link in ("1G", "10G", "100G")]
    assert names[0] == names[1] == names[2]
    assert {"dense", "dense-apart", "gs-SGD"} <= names[0]
