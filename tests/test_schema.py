"""The JSON schema of scenarios: every shipped one is valid, and what the toolkit refuses by a bound or a name is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.test_simulate import ROOT
from toolkit.commands import schema
from toolkit.core import yaml12
from toolkit.scenario import Scenario, replaced

FILES = sorted(Path(ROOT / "scenarios").rglob("*.yaml"))
SCENARIOS = [path for path in FILES if "fabric" in yaml12.read(path)]


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    found = Scenario.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


def test_every_shipped_scenario_is_valid(validator: jsonschema.Draft202012Validator) -> None:
    assert len(SCENARIOS) > 30
    for path in SCENARIOS:
        found = validator.iter_errors(yaml12.read(path))
        problems = [f"{path.name}: {list(error.absolute_path)}: {error.message[:200]}" for error in found]
        assert not problems, problems


def test_what_is_written_out_is_valid_too(validator: jsonschema.Draft202012Validator) -> None:
    """The resolved scenario of a run directory, every setting spelled out."""
    for name in ("sea_trial", "gs_sgd", "clfd_edge", "federated"):
        tree = json.loads(json.dumps(Scenario.load(ROOT / "scenarios" / f"{name}.yaml").dump()))
        assert validator.is_valid(tree), [error.message[:200] for error in validator.iter_errors(tree)]


SEA: dict[str, Any] = yaml12.read(ROOT / "scenarios" / "sea_trial.yaml")


@pytest.mark.parametrize(("path", "value", "valid"), [
    ("seeds", 0, False), ("sedes", 3, False), ("fabric.layout.nodes", -1, False), ("fabric.layout.nodes", 20, True),
    ("fabric.mac", "csma", True), ("fabric.mac", {"type": "csma", "windw": 3}, False), ("fabric.mac", {"type": "csma", "window": 0}, False),
    ("fabric.mac", {"type": "csma", "window": 7}, True), ("fabric.mac", {"type": "slotted-aloha"}, True),
    ("fabric.routing", {"beacon_s": 3}, False), ("fabric.mac", {"window": 3}, True), ("fabric.mac", {"windw": 3}, False),
    ("fabric.mac", "gossip", True), ("fabric.mac", {"type": "mypkg.gossip", "p": 3}, True),
    ("fabric.modem", "evologics_like", True), ("fabric.modem", "./mine.yaml", True), ("fabric.modem", "evologics", False),
    ("fabric.device", {"profile": "raspberry_pi_5", "busy_w": 9}, True), ("fabric.device", {"busy_w": -9}, False),
    ("program.interval_s", "often", False), ("fabric.interference", "mean", True), ("fabric.interference", "average", False),
    ("compare.X", {"fabric.mac": "aloha"}, True), ("compare.X", 3, False),
])
def test_values_are_judged(validator: jsonschema.Draft202012Validator, path: str, value: object, valid: bool) -> None:
    assert validator.is_valid(replaced(SEA, path, value)) == valid


def test_every_setting_says_what_it_is(validator: jsonschema.Draft202012Validator) -> None:
    definitions = validator.schema["$defs"]
    assert "routing.dbcar" in definitions
    beacon = definitions["routing.dbcar"]["properties"]["beacon_s"]
    assert beacon["exclusiveMinimum"] == 0
    assert beacon["description"] == "mean beacon period T_b (s); default 120"


def test_the_command_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert schema.main(["--out", str(tmp_path / "scenario.schema.json")]) == 0
    assert schema.LINE in capsys.readouterr().out
    assert json.loads((tmp_path / "scenario.schema.json").read_text()) == Scenario.model_json_schema()
    assert schema.main(["--out", str(tmp_path / "none" / "x.json")]) == 2
    assert capsys.readouterr().err.startswith("error: --out")
