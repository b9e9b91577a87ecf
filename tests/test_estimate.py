"""What is said before a run: for every program that can say it, and quickly where none can."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from toolkit.core.world import World
from toolkit.estimate import estimates, main
from toolkit.scenario import Scenario

SCENARIOS = Path(__file__).parents[1] / "scenarios"


@pytest.mark.parametrize("name", ["ga_lenet", "sea_trial"])
def test_a_program_that_cannot_say_says_so_without_loading_anything_heavy(name: str) -> None:
    code = "import sys; from toolkit.estimate import main; status = main(sys.argv[1:]); print(status, 'torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code, str(SCENARIOS / f"{name}.yaml")], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["2", "False"]
    assert found.stderr.count("\n") == 1
    assert "cannot say beforehand what it takes" in found.stderr


def test_training_says_what_each_network_takes(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    quick = Scenario.load(SCENARIOS / "hcgnet_edge.yaml", quick=True)
    found = estimates(quick)
    assert set(found) == set(quick.arms())
    assert all(row.time_s > 0 and row.memory_nbytes > 0 and row.sent_nbytes == 0 for row in found.values())
    monkeypatch.setattr("toolkit.estimate.estimates", lambda scenario: found if scenario == quick else {})  # they are not counted twice
    assert main([str(SCENARIOS / "hcgnet_edge.yaml"), "--quick", "--csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(found)


def test_a_scenario_that_is_not_there_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nowhere.yaml"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


METHODS = [
    "dense", {"type": "gs_sgd", "density": 0.05}, {"type": "local_sgd", "period": 3}, {"type": "dgc", "warmup_steps": 1}, "powersgd",
    "parameter_server",
]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method if isinstance(method, str) else method["type"])
def test_distributed_training_says_what_a_run_takes(method: Any) -> None:
    """The estimate from a few steps, the run that learns nothing and the run that learns: the same seconds, bytes and joules."""
    settings = {
        "compare": {}, "program.method": method, "program.steps": 20, "fabric.workers": 4, "seeds": 1, "program.targets": [],
        "fabric.servers": int(method == "parameter_server"),
    }
    spec = Scenario.load(SCENARIOS / "gs_sgd.yaml", settings)
    (row,) = estimates(spec).values()
    for learn in (True, False):
        arm = Scenario.build({**spec.dump(), "program": {**spec.program.dump(), "learn": learn}})
        world = World(1, float("inf"))
        network = arm.fabric.build(world)
        world.env.run(until=network.launch(arm.program))
        network.finish()
        rows = world.ledger.charges()
        assert world.now == pytest.approx(row.time_s, rel=1e-9)
        assert rows.loc[rows["kind"] == "tx", "nbytes"].sum() == row.sent_nbytes
        assert rows["energy_j"].sum() == pytest.approx(row.energy_j, rel=1e-9)
