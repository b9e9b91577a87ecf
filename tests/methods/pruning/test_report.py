"""From the scenario file to its report, in small; idle time by hand."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from toolkit.core.ledger import Charge, Metric
from toolkit.methods.pruning.report import idle_fraction
from toolkit.scenario import Scenario
from toolkit.sweep import run

FOLDER = Path(__file__).parents[3] / "scenarios"
SMALL = {
    "seeds": 2, "program.task.model.options": {"filters": [6, 8], "hidden": 20},
    "program.samples": {"train": 300, "validation": 100, "test": 100},
    "program.evaluations": 30, "program.dense_epochs": 2, "program.fine_tune_epochs": 1, "program.pruner.population": 8,
}


def test_idle_fraction_by_hand() -> None:
    """Rank 0 breeds; workers 1 and 2 evaluate for 3 s and 1 s of a search of 4 s, and worker 3 is lost at 2 s after 1 s of work."""
    def charge(t0_s: float, dur_s: float, node: int, kind: str = "compute", phase: str = "evaluate") -> Charge:
        return Charge(t0_s, dur_s, node, node, kind, phase, 0.0, 0, 0.0, "done", -1)

    ledger = pd.DataFrame([
        charge(1, 3, 1), charge(1, 1, 2), charge(2, 1, 3, phase="fine_tune"), charge(1, 1, 3), charge(0, 9, 0, phase="search"),
        *(charge(0, 9, node, "idle", "host") for node in range(4)),
    ])
    metrics = pd.DataFrame([
        Metric(1.0, 0, "search_begin_s", "", 1.0), Metric(5.0, 0, "search_end_s", "", 5.0), Metric(3.0, -1, "crash", "worker3", 1.0),
    ])
    assert idle_fraction(ledger, metrics) == pytest.approx((0.25 + 0.75 + 0.5) / 3)


def test_a_comparison_gives_its_report(tmp_path: Path) -> None:
    overrides = {
        **SMALL, "compare": {
            "GA": {}, "front": {"program.pruner.selection": "nsga2"},
            "L1": {"program.pruner": "filter_l1", "program.target": {"conv_factor": 3.0, "removed": 0.6}},
        },
    }
    result = run(Scenario.load(FOLDER / "ga_lenet.yaml", overrides), out=tmp_path / "run")
    assert {path.stem for path in (tmp_path / "run" / "figures").glob("*.png")} >= {"overview", "fronts", "result", "survivors", "latency"}
    answers = (tmp_path / "run" / "answers.txt").read_text(encoding="utf-8")
    assert "16 times fewer convolution MACs within 2 accuracy points: met by none; MISSED by L1 (0 of 2 seeds" in answers
    assert result.report["value"].notna().all()


def test_unequal_workers_give_their_report(tmp_path: Path) -> None:
    overrides = {**SMALL, "compare": {"synchronous": {}, "asynchronous": {"program.form": "asynchronous"}}}
    result = run(Scenario.load(FOLDER / "ga_workers.yaml", overrides), out=tmp_path / "run")
    assert (tmp_path / "run" / "figures" / "workers.png").is_file()
    assert "idle" in (tmp_path / "run" / "answers.txt").read_text(encoding="utf-8")
    assert set(result.report.loc[result.report["metric"] == "idle_fraction", "arm"]) == {"synchronous", "asynchronous"}


@pytest.mark.parametrize("name", ["ga_lenet", "ga_workers", "paper/ga_lenet_mnist", "paper/ga_vgg16"])
def test_scenarios_are_whole(name: str) -> None:
    for quick in (False, True):
        assert Scenario.load(FOLDER / f"{name}.yaml", quick=quick).arms()
