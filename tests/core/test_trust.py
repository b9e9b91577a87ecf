"""Whose code runs: the user's own beside the scenario, packages trusted by name, and nobody else's, by any command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from tests.test_simulate import tiny
from toolkit.core import trust, yaml12
from toolkit.core.network_file import write_network
from toolkit.errors import ScenarioError
from toolkit.methods.dataset_spec import DatasetSpec
from toolkit.methods.model_spec import ModelSpec
from toolkit.scenario import Scenario, replaced
from toolkit.simulate import main

ROOT = Path(__file__).parents[2]
PLAIN = """\
from pathlib import Path
from toolkit.acoustic.mac.aloha import *
import toolkit.acoustic.mac.aloha as theirs
Path(__file__).with_suffix(".ran").touch()
SOURCE = Path(theirs.__file__).read_text()
exec(compile(SOURCE.replace("toolkit.acoustic.mac.aloha", __name__), __file__, "exec"))
"""


@pytest.fixture(autouse=True)
def nobody_trusted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(trust.VARIABLE, raising=False)
    monkeypatch.setattr(trust, "_admitted", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if not name.startswith("toolkit"):
            del sys.modules[name]


def own(folder: Path, name: str = "shout_mac") -> Path:
    """A scenario with a MAC of the user's own beside it, which leaves a mark when it is imported."""
    path = tiny(folder)
    tree = yaml12.read(path)
    (folder / f"{name}.py").write_text(PLAIN, encoding="utf-8")
    tree = replaced(tree, "fabric.mac", {"type": name})
    path.write_text(yaml12.dump({**tree, "seeds": 1, "compare": {"mine": {}, "flooding": {"fabric.routing": {"type": "flooding"}}}}))
    return path


def call(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, cwd=folder, check=False, timeout=200,
        env={**{key: value for key, value in os.environ.items() if key != trust.VARIABLE}, "PYTHONPATH": str(ROOT), **environment},
    )


def test_a_part_beside_the_scenario_runs_and_is_told(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    path = own(home)
    done = call("tests.undrawn", "toolkit.simulate", str(path), "--out", "out", "--jobs", "2", "--quiet", folder=elsewhere)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n") == 1
    assert f"shout_mac beside the scenario ({home}) is imported" in done.stderr
    assert yaml12.read(elsewhere / "out" / "scenario.yaml")["fabric"]["mac"]["type"] == "shout_mac"
    assert (elsewhere / "out" / "DONE").exists()

    # what the run left is data: with a module of that name beside it, it is not imported (nor by any command: tests/test_hostile.py)
    (elsewhere / "out" / "shout_mac.py").write_text(PLAIN)
    refused = call("toolkit.recost", "out", folder=elsewhere)
    assert refused.returncode == 2, refused
    assert "Traceback" not in refused.stderr
    assert not (elsewhere / "out" / "shout_mac.ran").exists()


def test_check_imports_nobodys_module(tmp_path: Path) -> None:
    path = tiny(tmp_path)
    other = tmp_path / "site" / "evil"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("from pathlib import Path\nPath(__file__).with_name('ran').touch()\n")
    (other / "mac.py").write_text(PLAIN)
    how = {"folder": tmp_path, "PYTHONPATH": f"{ROOT}:{tmp_path / 'site'}"}
    command = ["toolkit.simulate", str(path), "--check", "--set", "fabric.mac=evil.mac"]
    done = call(*command, **how)
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert "--trust evil" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (other / "ran").exists()
    assert call(*command, "--trust", "evil", **how).returncode == 0
    assert call(*command, TOOLKIT_TRUST="evil", **how).returncode == 0


def test_check_imports_no_module_that_is_installed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tiny(tmp_path)), "--check", "--set", "fabric.mac=this.x"]) == 2
    assert "--trust this" in capsys.readouterr().err
    assert "this" not in sys.modules  # which would have said so aloud


def test_a_name_that_is_installed_is_not_taken_from_beside_the_scenario(tmp_path: Path) -> None:
    assert trust.refusal("this", tmp_path).startswith("'this' is code of another package")
    (tmp_path / "this.py").write_text("raise SystemExit('this ran')")
    assert "has the name of a module that is installed" in trust.refusal("this", tmp_path)


def test_what_is_imported_already_needs_no_trust() -> None:
    assert trust.refusal("tests.core.test_trust", None) == ""
    assert trust.refusal("tests.core.never_imported", None).startswith("'tests.core.never_imported' is code of another package")


RUNNERS = (
    "os:system", "subprocess:call", "subprocess:Popen", "builtins:exec", "runpy:run_path", "importlib:import_module", "pydoc:locate",
    "torch.hub:load", "torch:load", "numpy:load", "pandas:read_pickle", "_pytest.config:main", "__main__:main", "psutil:Popen",
    "toolkit.methods.builders:own_module", "toolkit.core.wholefile:write_whole", "toolkit.core.trust:trust", "toolkit.simulate:main",
)
READERS = ("torch.hub", "torch.serialization", "numpy.lib._npyio_impl", "joblib.numpy_pickle", "toolkit.core.statefile", "os.path")


@pytest.mark.parametrize("name", RUNNERS)
def test_what_python_and_this_package_import_is_nobodys_network(name: str) -> None:
    """These are loaded, or could be, and called with what a file says they would run anything."""
    with pytest.raises(ValidationError) as caught:
        ModelSpec.model_validate({"name": name}, context={"home": None})
    said = str(caught.value)
    if name.startswith("__main__:") and not hasattr(sys.modules["__main__"], "main"):
        assert "has no class or function" in said or "--trust" in said  # neither pytest nor a worker of it has such a function
    else:
        assert "--trust" in said or "nothing to be called from here" in said


@pytest.mark.parametrize("name", READERS)
def test_what_python_and_this_package_import_is_nobodys_data_set(name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        DatasetSpec.model_validate({"type": name, "file": "x"}, context={"home": None})
    assert "--trust" in str(caught.value) or "nothing to be called from here" in str(caught.value)


def test_a_network_of_a_file_alone_runs_nothing(tmp_path: Path) -> None:
    """As a command meets it, in which nobody has imported anything: a scenario with nothing beside it, and what a run left."""
    mark = tmp_path / "ran"
    models = {
        "toolkit.simulate": {"name": "os:system", "options": {"command": f"touch {mark}"}},
        "toolkit.export": {"name": "subprocess:call", "options": {"args": ["touch", str(mark)]}},
    }
    for number, (command, model) in enumerate(models.items()):
        tree = {
            "name": "x", "seeds": 1, "fabric": {"type": "cluster", "workers": 1},
            "program": {"type": "distributed", "method": "dense", "steps": 1, "task": {"model": model}},
        }
        path = tmp_path / f"x{number}.yaml"
        path.write_text(yaml12.dump(tree))
        left = tmp_path / f"left{number}" / "models"
        left.mkdir(parents=True)
        facts = {"shape": [1, 8, 8], "model": model, "num_classes": 10, "finished": True}
        write_network(left / "A-s1", {"w": np.ones(3, np.float32)}, facts)
        given = {"toolkit.simulate": [str(path), "--check"], "toolkit.export": [str(left.parent), "--format", "safetensors"]}
        done = call(command, *given[command], folder=tmp_path)
        assert (done.returncode, done.stdout) == (2, ""), done
        assert "--trust" in done.stderr
        assert "Traceback" not in done.stderr
    assert not mark.exists()


def test_where_a_scenario_came_from_is_no_part_of_it(tmp_path: Path) -> None:
    path = tiny(tmp_path)
    here = Scenario.load(path)
    assert here.home == tmp_path
    assert here == Scenario.load(path, own=False)
    assert "home" not in here.dump()


@pytest.mark.parametrize("left", ["versions.json", "report.csv", "DONE", "runs/A-s1.json"])
def test_a_run_directory_is_nobodys_home(tmp_path: Path, left: str) -> None:
    path = tiny(tmp_path)
    (tmp_path / "runs" / "sea-1").mkdir(parents=True)  # where a command puts its run directories is no run directory
    assert trust.home_of(path) == tmp_path
    (tmp_path / left).write_text(json.dumps({}))
    assert trust.home_of(path) is None


def test_names_that_are_no_modules_are_unknown_parts(tmp_path: Path) -> None:
    for name in ("", "a/b", "a b", "../x", "evil", "..evil", "__main__", "json.tool", "os.path"):
        with pytest.raises(ScenarioError):
            Scenario.load(tiny(tmp_path), {"fabric.mac": {"type": name}})


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("import a_module_of_nobody\n",
         "'shout_mac' does not import (ModuleNotFoundError: No module named 'a_module_of_nobody', shout_mac.py line 1)"),
        ("def first():\n    return 1 / 0\n\nfirst()\n",
         "'shout_mac' does not import (ZeroDivisionError: division by zero, shout_mac.py line 2)"),
        ("x = 1\ndef broken(:\n", "'shout_mac' does not import (SyntaxError: invalid syntax, shout_mac.py line 2)"),
    ],
)
def test_a_part_of_ones_own_that_does_not_import_is_one_sentence(tmp_path: Path, source: str, sentence: str) -> None:
    path = own(tmp_path)
    (tmp_path / "shout_mac.py").write_text(source)
    with pytest.warns(trust.OwnModule), pytest.raises(ScenarioError) as caught:
        Scenario.load(path)
    assert f"fabric.mac: {sentence}" in str(caught.value)
