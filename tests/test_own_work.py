"""A user's own pictures and own network, as docs/own.md tells it: tasks, training, pruning, export, by scenarios and from Python."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.test_simulate import ROOT
from toolkit.core import trust
from toolkit.export import main as export
from toolkit.simulate import main as simulate

Image = pytest.importorskip("PIL.Image")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::toolkit.core.trust.OwnModule")]
PAGE = (ROOT / "docs" / "own.md").read_text()


def block(name: str) -> str:
    """The code that the page gives after naming a file, or heading, *name*."""
    return re.split(r"```\w*\n", PAGE[PAGE.index(name) :], maxsplit=1)[1].partition("```")[0]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the page begins with; the working directory is another one."""
    folder = tmp_path / "study"
    rng = np.random.default_rng(1)
    for label, name in enumerate(("cat", "dog")):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(20):
            pixels = rng.integers(120 * label, 120 * label + 60, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / name / f"{number}.png")
    (folder / "mynets.py").write_text(block("`mynets.py`:"))
    for name in ("learn", "fit", "prune"):
        (folder / f"{name}.yaml").write_text(block(f"(`{name}.yaml`)"))
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(trust.VARIABLE, raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    yield folder
    sys.modules.pop("mynets", None)


def test_by_scenarios(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("learn", "fit", "prune"):
        assert simulate([str(study / f"{name}.yaml"), "--out", f"runs/{name}", "--jobs", "1", "--quiet"]) == 0, capsys.readouterr().err
    learnt = pd.read_csv("runs/learn/report.csv").set_index(["arm", "metric"])["value"]
    assert set(learnt.index.get_level_values(0)) == {"ER", "CLFD-ER", "SGD"}
    assert learnt["CLFD-ER", "energy_total_j"] > 0
    assert pd.read_csv("runs/fit/report.csv").set_index("metric")["value"]["final_accuracy"] >= 0.5
    for run, options in (("learn", ["--arm", "CLFD-ER"]), ("learn", ["--arm", "ER"]), ("fit", []), ("prune", [])):
        file = f"{run}{len(options)}.pt2"
        assert export([f"runs/{run}", *options, "--format", "pt2", "--trust", "mynets", "--out", file]) == 0, capsys.readouterr().err
        with torch.no_grad():
            assert torch.export.load(file).module()(torch.zeros(5, 3, 16, 16)).shape == (5, 2)


def test_from_python(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(study)
    monkeypatch.syspath_prepend(str(study))
    names: dict[str, object] = {}
    exec(block("## From Python"), names)
    assert (study / "small.pt2").is_file()
    sizes = [sum(weight.numel() for weight in names[name].network().parameters()) for name in ("fitted", "small")]  # type: ignore[attr-defined]
    assert sizes[1] <= 0.5 * sizes[0]
