"""--quick: every scenario has it, takes less than a minute of one core with it, and says everywhere that nothing is concluded from it."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_simulate import tiny
from toolkit.analysis.standing import given_up
from toolkit.core import yaml12
from toolkit.scenario import Scenario
from toolkit.simulate import main

ROOT = Path(__file__).parents[1]
SCENARIOS = sorted((ROOT / "scenarios").glob("*.yaml"))
NEED_DATA = {"egor_blood", "egor_defects"}
"""Scenarios of data that the package does not bring; their folder is in TOOLKIT_DATA."""
LIMIT_S = 60.0
"""Of user CPU time, all processes together."""


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_every_scenario_has_quick_settings(path: Path) -> None:
    tree = yaml12.read(path)
    assert tree["quick"]
    assert set(tree["quick"]) - {"seeds"}, "fewer seeds alone are no quick look"
    assert given_up(tree["quick"], tree), "it gives something up, and that can be said"


def words_in(directory: Path) -> dict[str, str]:
    return {name: (directory / name).read_text(encoding="utf-8") for name in ("report.html", "answers.txt", "differences.csv")}


def test_a_quick_look_says_so_everywhere_and_gives_no_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tiny(tmp_path, **{"quick": {"duration_s": 900, "fabric.layout.nodes": 7}})
    command = [str(path), "--quick", "--out", str(tmp_path / "out"), "--jobs", "1"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    versions = json.loads((tmp_path / "out" / "versions.json").read_text(encoding="utf-8"))
    assert versions["quick"] == ["duration_s 900 instead of 1800.0", "fabric.layout.nodes 7 instead of 8"]
    assert versions["standing"] == "quick look: no verdicts"
    assert versions["command"] == ["python", "-m", "toolkit.simulate", *command]
    found = words_in(tmp_path / "out")
    assert "(quick look: no verdicts)</title>" in found["report.html"]
    body = found["report.html"][found["report.html"].index("</style>") : found["report.html"].index('id="what-was-run"')]
    for text in (printed, body):
        assert "Quick look: no verdicts." in text or "quick look: no verdicts" in text
        assert "duration_s 900 instead of 1800.0" in " ".join(text.split())
    for text in (printed, body, found["answers.txt"], found["differences.csv"]):
        for word in ("better than", "worse than", "is better", "no difference shown", "▲", "▼", "nan to", "± nan"):
            assert word not in re.sub('"data:image/png[^"]*"', "", text).lower(), word


def test_one_seed_and_a_scenario_without_quick_settings_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tiny(tmp_path, quick={})
    assert main([str(path), "--quick", "--seeds", "1", "--set", "duration_s=900", "--out", str(tmp_path / "out"), "--jobs", "1"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Quick look, one seed: no verdicts." in printed
    assert "has no quick settings" in printed
    assert "1 seeds" not in printed + words_in(tmp_path / "out")["report.html"]
    versions = json.loads((tmp_path / "out" / "versions.json").read_text(encoding="utf-8"))
    assert (versions["quick"], versions["standing"]) == ([], "quick look, one seed: no verdicts")


def test_facts_of_the_software_are_told_without_importing_it(tmp_path: Path) -> None:
    code = (
        "import sys; from toolkit.core.rundir import versions; print(versions())\n"
        "assert not {'torch', 'pywt', 'sklearn'} & set(sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    for name in ("torch", "PyWavelets", "scikit-learn", "numpy"):
        assert f"'{name}'" in said
    if (ROOT / ".git").exists():
        head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()
        assert head in said


@pytest.mark.slow
def test_every_quick_look_takes_less_than_a_minute_of_one_core(tmp_path: Path) -> None:
    """User CPU time of the process and of all that it started; a first run's compiling is in it, so nothing of it may be large."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    spent: dict[str, float] = {}
    for path in SCENARIOS:
        if path.stem in NEED_DATA and main([str(path), "--quick", "--check"]):
            continue  # its data are not here
        before_s = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        done = subprocess.run(
            [sys.executable, "-m", "toolkit.simulate", str(path), "--quick", "--jobs", "1", "--quiet", "--out", str(tmp_path / path.stem)],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )
        assert done.returncode == 0, (path.stem, done.stderr)
        spent[path.stem] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before_s
        assert Scenario.load(tmp_path / path.stem / "scenario.yaml", own=False).quick
    assert {name: round(took_s, 1) for name, took_s in spent.items() if took_s >= LIMIT_S} == {}
