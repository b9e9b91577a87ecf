"""What a notebook shows of a result, a scenario and a run under way."""

from __future__ import annotations

import base64
import re
import shutil
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import toolkit
from tests.test_simulate import ROOT, run, tiny
from toolkit import progress
from toolkit.core.rundir import RunDirectory
from toolkit.errors import RunDirectoryError
from toolkit.job import Job
from toolkit.scenario import Scenario


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    assert run(tiny(folder), folder / "out") == 0
    return folder / "out"


def pictures(html: str) -> list[bytes]:
    return [base64.b64decode(data) for data in re.findall(r'src="data:image/png;base64,([^"]+)"', html)]


def test_a_result_shows_tables_and_the_figures_of_its_directory(finished: Path) -> None:
    html = toolkit.load(finished)._repr_html_()
    assert html.count("<table>") == 2
    kept = [path.read_bytes() for path in (finished / "figures").glob("*.png")]
    assert sorted(pictures(html)) == sorted(kept)
    assert len(kept) >= 4


def test_figures_that_are_gone_are_drawn_again(finished: Path, tmp_path: Path) -> None:
    copied = tmp_path / "out"
    shutil.copytree(finished, copied)
    shutil.rmtree(copied / "figures")
    assert len(pictures(toolkit.load(copied)._repr_html_())) == len(list((finished / "figures").glob("*.png")))
    assert not (copied / "figures").exists()


@pytest.mark.parametrize("what", ["result", "scenario"])
def test_the_style_touches_nothing_outside_its_block(finished: Path, what: str) -> None:
    found = toolkit.load(finished)
    html = found._repr_html_() if what == "result" else found.scenario._repr_html_()
    block = re.match(r'<div class="([a-z-]+)">', html)
    assert block is not None
    (style,) = re.findall(r"<style>(.*?)</style>", html)
    selectors = [rule.partition("{")[0].strip() for rule in style.split("}") if rule.strip()]
    assert selectors
    for selector in selectors:
        assert all(one.strip().startswith(f".{block.group(1)} ") for one in selector.split(",")), selector


def test_what_is_no_run_directory_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"holds no report\.csv"):
        toolkit.load(tmp_path)


def test_a_scenario_shows_what_is_not_the_default() -> None:
    scenario = Scenario.load(ROOT / "scenarios" / "sea_trial.yaml", {"fabric.modem.tx_w": 7.5, "fabric.mac": "csma"})
    assert repr(scenario) == "<Scenario sea_trial: 8 arms x 5 seeds, periodic over acoustic>"
    lines = scenario.outline().splitlines()
    assert "  modem: evologics_like" in lines
    assert "    tx_w: 7.5" in lines
    assert "  mac: csma" not in lines  # it is the default
    assert "    carrier_hz: 25000.0" not in lines  # the profile says so
    assert "  routing: dbcar" in lines
    html = scenario._repr_html_()
    assert html.count("<details") == html.count("</details>") > 5
    assert "7.5" in html
    cluster = Scenario.load(ROOT / "scenarios" / "gs_sgd.yaml").outline()
    assert "device: raspberry_pi_5" not in cluster  # the default, by name


def test_texts_in_a_scenario_are_no_markup() -> None:
    scenario = Scenario.load(ROOT / "scenarios" / "sea_trial.yaml", {"question": "<script>alert(1)</script>"})
    assert "<script>" not in scenario._repr_html_()


# Progress


class Shown:
    """What a notebook has displayed, and how often it was changed."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def update(self, data: dict[str, str], *, raw: bool) -> None:
        self.texts.append(data["text/plain"])


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """As much of IPython as a kernel has."""
    shown = Shown()

    class Shell:
        pass

    def display(data: dict[str, str], *, raw: bool, display_id: bool) -> Shown:
        shown.update(data, raw=raw)
        return shown

    kernel: Any = ModuleType("ipykernel.zmqshell")
    kernel.ZMQInteractiveShell = Shell
    ipython: Any = ModuleType("IPython")
    ipython.get_ipython = Shell
    ipython.display = SimpleNamespace(display=display)
    monkeypatch.setitem(sys.modules, "ipykernel.zmqshell", kernel)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setattr(progress, "EVERY_S", 0.01)
    return shown


def jobs(folder: Path) -> list[Job]:
    (folder / "runs").mkdir()
    return [Job(arm, 1, {"duration_s": 10.0}, folder) for arm in ("A", "B")]


def test_a_notebook_shows_one_line_that_changes(notebook: Shown, tmp_path: Path) -> None:
    work = jobs(tmp_path)
    with progress.in_notebook(work, RunDirectory(tmp_path)):
        RunDirectory(tmp_path).record("A-s1").write_text("{}")
        RunDirectory(tmp_path).record("B-s1").with_suffix(".progress").write_text("0.5")
        time.sleep(0.2)
    assert notebook.texts[0] == "0 runs"
    assert any(text.startswith("1 of 2 runs, 75%") for text in notebook.texts)
    assert notebook.texts[-1].startswith("2 of 2 runs, 100%")


def test_elsewhere_it_is_silent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with progress.in_notebook(jobs(tmp_path), RunDirectory(tmp_path)):
        pass
    assert capsys.readouterr() == ("", "")


def test_running_in_a_notebook_tells_how_far_it_is(notebook: Shown, tmp_path: Path) -> None:
    result = toolkit.run(tiny(tmp_path), set={"seeds": 1, "compare": {"flooding": {"fabric.routing": "flooding"}}}, out=tmp_path / "out")
    assert result.arms == ["flooding"]
    assert result.seeds == [1]
    assert notebook.texts[-1].startswith("1 of 1 run, 100%")
