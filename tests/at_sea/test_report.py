"""The report of learning over the sea: every number follows from the ledger, and runs are pure functions of scenario and seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import toolkit
from tests.acoustic.transport.conftest import fabric
from tests.test_resume import whole
from tests.test_simulate import ROOT
from toolkit.analysis.convention import report_module
from toolkit.at_sea.report import spent_until
from toolkit.render.result import Result
from toolkit.scenario import Scenario
from toolkit.simulate import main


def star(deadline_s: float | None = None) -> dict[str, Any]:
    schedule = {"type": "star", "deadline_s": deadline_s}
    return {"collectives": {"all_reduce": schedule, "all_gather": schedule}}


def scenario(**more: Any) -> Scenario:
    return Scenario.build({
        "name": "small", "duration_s": 1500.0, "seeds": 2,
        "fabric": {**fabric({"type": "dbr"}, **star(30.0)), "drain_s": 100.0},
        "program": {
            "type": "distributed", "task": {"dataset": "digits", "model": {"name": "mlp", "options": {"hidden": []}}},
            "method": {"type": "top_k", "density": 0.05, "momentum": 0.0}, "steps": 4, "batch": 8, "lr": 0.5, "evaluate_every": 1,
            "targets": [0.1, 0.999],
        },
        "compare": {"DBR": {}, "ideal": {"fabric.links": "ideal"}}, **more,
    })


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return toolkit.run(scenario(), out=tmp_path_factory.mktemp("sea") / "run", jobs=1)


def value(result: Result, arm: str, metric: str) -> float:
    rows = result.report
    return float(rows[(rows.arm == arm) & (rows.seed == 1) & (rows.metric == metric)].value.iloc[0])


def test_its_report_is_that_of_learning_at_sea(result: Result) -> None:
    assert report_module(scenario()) == "toolkit.at_sea.report"
    assert result.versions["report"] == "toolkit.at_sea.report"
    assert {"final_accuracy", "air_bytes_per_node", "delivery_ratio", "energy_per_node_j"} <= set(result.report.metric)


@pytest.mark.parametrize("arm", ["DBR", "ideal"])
def test_its_numbers_follow_from_the_ledger(result: Result, arm: str) -> None:
    ledger = result.ledger_of(arm, 1)
    sent = ledger[(ledger.kind == "tx").to_numpy(bool)]
    assert value(result, arm, "air_bytes_per_node") == pytest.approx(sent.nbytes.sum() / 4)
    shares = [value(result, arm, f"air_share_{name}") for name in ("data", "receipts", "control")]
    assert sum(shares) == pytest.approx(1.0)
    assert shares[1] == pytest.approx(sent[(sent.phase == "receipt").to_numpy(bool)].nbytes.sum() / sent.nbytes.sum())
    messages = ledger[(ledger.kind == "message").to_numpy(bool)]
    whole_ones = (messages.outcome == "delivered").to_numpy(bool)
    assert value(result, arm, "message_delivery_ratio") == pytest.approx(whole_ones.mean())
    metrics = result.metrics[(result.metrics.arm == arm) & (result.metrics.seed == 1)]
    counted, missing = (metrics[metrics.name == f"{name}_updates"].value.sum() for name in ("counted", "missing"))
    assert value(result, arm, "counted_share") == pytest.approx(counted / (counted + missing))
    accuracy = metrics[metrics.name == "test_accuracy"].sort_values(["t_s", "step"])
    assert value(result, arm, "final_accuracy") == accuracy.value.iloc[-1]
    at_s = accuracy[accuracy.value >= 0.1].t_s.min()
    assert value(result, arm, "hours_to_accuracy@0.1") == pytest.approx(at_s / 3600)
    assert value(result, arm, "bytes_to_accuracy@0.1") == pytest.approx(sent[sent.t0_s + sent.dur_s <= at_s].nbytes.sum() / 4)
    assert np.isnan(value(result, arm, "hours_to_accuracy@0.999"))


def test_what_is_spent_at_the_end_is_all_there_is(result: Result) -> None:
    ledger = result.ledger_of("DBR", 1)
    nbytes, energy_j = spent_until(ledger, np.array([0.0, 1e9]), 4)
    assert nbytes.tolist() == [0.0, float(ledger[(ledger.kind == "tx").to_numpy(bool)].nbytes.sum())]
    own = ledger[(ledger.node < 4) & ~ledger.kind.isin(["send", "message"])]
    assert energy_j.tolist() == pytest.approx([0.0, float(own.energy_j.sum())])


def test_figures_show_it_against_hours_joules_and_bytes(result: Result) -> None:
    drawn = {path.stem for path in (result.directory / "figures").glob("*.png")}
    assert {"learning_vs_hours", "learning_vs_energy", "learning_vs_bytes", "updates"} <= drawn


@pytest.mark.usefixtures("undrawn")
def test_two_processes_and_a_resumed_run_give_the_same_bytes(result: Result, tmp_path: Path) -> None:
    out = tmp_path / "run"
    toolkit.run(scenario(), out=out, jobs=2)
    (out / "runs" / "DBR-s2.json").unlink()  # as if it had been killed before that was written
    (out / "ledger" / "ideal-s1-000.parquet").write_bytes(b"")  # and this was cut short
    toolkit.run(scenario(), out=out, jobs=1, resume=True)
    expected, found = whole(result.directory), whole(out)
    assert expected.keys() == found.keys()
    for name, content in expected.items():
        assert found[name] == content or name == "versions.json", name


def test_messages_without_content_of_a_sea_need_no_torch() -> None:
    from tests.test_architecture import loaded_after

    code = (
        "from toolkit.scenario import Scenario\nfrom toolkit.core.world import World\n"
        "s = Scenario.build({'name': 'x', 'duration_s': 2000.0, 'program': 'poisson', 'fabric': {'type': 'acoustic', 'routing': 'dbr', "
        "'sea': {}, 'transport': 'reliable', 'layout': {'nodes': 3, 'sinks': 1}, 'history_s': 0, 'probe': {'links': 0}}})\n"
        "s.check()\nw = World(1, 2000.0)\nn = s.fabric.build(w)\nn.launch(s.program)\nw.env.run(until=2000.0)\nn.finish()"
    )
    assert "torch" not in loaded_after(code)


@pytest.mark.parametrize("quick", [[], ["--quick"]])
def test_the_scenario_can_be_run(quick: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(ROOT / "scenarios" / "sketches_at_sea.yaml"), "--check", *quick]) == 0
    assert "10 arms" in capsys.readouterr().out


@pytest.mark.slow
def test_the_scenario_runs_quickly(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert main([str(ROOT / "scenarios" / "sketches_at_sea.yaml"), "--quick", "--quiet", "--seeds", "1", "--out", str(out)]) == 0
    report = pd.read_csv(out / "report.csv")
    assert report[report.metric == "final_accuracy"].value.notna().all()
