"""The notebooks run from first to last cell, and each is the script beside it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl
import pytest

from tests.test_simulate import ROOT

pytestmark = pytest.mark.usefixtures("undrawn_module")

FOLDER = ROOT / "docs" / "notebooks"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py"))


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.filterwarnings("ignore::toolkit.core.trust.OwnModule")
def test_it_runs(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(FOLDER)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "path", [*sys.path])
    mpl.use("agg")
    script = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    exec(compile(script, f"{name}.py", "exec"), {"__name__": "notebook"})


@pytest.mark.parametrize("name", SCRIPTS)
def test_notebook_and_script_say_the_same(name: str) -> None:
    script = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    cells = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    said = ["".join(cell["source"]) for cell in cells]
    for cell, text in zip(cells, said, strict=True):
        lines = [f"# {line}".rstrip() for line in text.splitlines()] if cell["cell_type"] == "markdown" else text.splitlines()
        assert "\n".join(lines) in script
    code = [line for line in script.splitlines() if line and not line.startswith("#")]
    kept = {line for text in said for line in text.splitlines()}
    assert set(code) <= kept
