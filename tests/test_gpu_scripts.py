"""The script that makes results on a GPU keeps its time, hands on what is left, goes on where it stopped, and writes tables: on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.test_simulate import ROOT

SCRIPT = ROOT / "scripts" / "gpu_results.sh"


def called(tmp_path: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    settings = {"PYTHON": sys.executable, "OUT": str(tmp_path / "out"), "RUNS": str(tmp_path / "runs"), "ACCELERATOR": "cpu", **settings}
    return subprocess.run(["bash", str(SCRIPT)], env={**os.environ, **settings}, capture_output=True, text=True, check=False)


def scripts(tmp_path: Path, **bodies: str) -> str:
    folder = tmp_path / "scripts"
    folder.mkdir()
    for name, body in bodies.items():
        (folder / f"{name}.sh").write_text(f"{body}\n")
    return str(folder)


def test_each_gets_its_share_of_what_is_left(tmp_path: Path) -> None:
    told = 'echo "$BUDGET_S" > "$OUT/$(basename "$0" .sh).md"'
    done = called(tmp_path, SCRIPTS=scripts(tmp_path, a=told, b=told, c=told), BUDGET_S="90")
    assert done.returncode == 0, done.stderr
    shares = [int((tmp_path / "out" / f"{name}.md").read_text()) for name in "abc"]
    assert shares[0] == 30
    assert 40 <= shares[1] <= 45  # half of what a left, as it took no time
    assert 80 <= shares[2] <= 90


def test_one_that_takes_too_long_is_stopped_and_there_is_more_to_do(tmp_path: Path) -> None:
    begun_s = time.monotonic()
    done = called(tmp_path, SCRIPTS=scripts(tmp_path, slow="sleep 60", quick='touch "$OUT/quick.md"; exit 3'), BUDGET_S="4")
    assert done.returncode == 3
    assert time.monotonic() - begun_s < 20
    assert "more to do" in done.stdout
    assert (tmp_path / "out" / "quick.md").exists()


def test_a_failure_is_told(tmp_path: Path) -> None:
    done = called(tmp_path, SCRIPTS=scripts(tmp_path, bad="exit 2"))
    assert done.returncode == 2
    assert "bad: failed (exit status 2)" in done.stderr


def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    done = called(tmp_path, ACCELERATOR="cuda", CUDA_VISIBLE_DEVICES="", SCRIPTS=scripts(tmp_path))
    assert done.returncode == 2
    assert "torch finds no GPU here" in done.stderr


@pytest.mark.slow
def test_continual_learning_is_resumed_and_told(tmp_path: Path) -> None:
    """Cut off once by too small a budget, then finished; one epoch per task and then two."""
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "continual.sh").write_text(f'exec bash "{ROOT}/scripts/gpu/continual.sh"\n')
    arms = '{"SGD":{"program.method":"sgd"},"ER":{"program.method":"er"}}'
    changes = ["task.dataset=digits", "task.model.options.nf=4", "drop_last=true", "stream.tasks=2"]
    settings = f"--jobs 1 --set seeds=1 --set compare={arms} " + " ".join(f"--set program.{change}" for change in changes)
    given = {"SCRIPTS": str(folder), "SETTINGS": settings, "MOST_EPOCHS": "2"}
    assert called(tmp_path, **given, BUDGET_S="6").returncode == 3
    done = called(tmp_path, **given, BUDGET_S="500")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out" / "continual.md").read_text()
    assert page.count("| ER | 1 |") == page.count("| SGD | 1 |") == 2
    assert "## continual-2: " in page
    assert "Not finished" not in page


@pytest.mark.slow
def test_one_scenario_leaves_its_table(tmp_path: Path) -> None:
    folder = tmp_path / "scripts"
    folder.mkdir()
    arms = '{"PD":{"program.losses":"pd"},"DDIM":{"program.losses":"none"}}'
    (folder / "one.sh").write_text(
        f'cd "{ROOT}"; . scripts/gpu_scenario.sh; run_scenario one scenarios/rdd_edge.yaml clf_fid@1,distil_s --quick '
        f"--set 'compare={arms}'\n"
    )
    done = called(tmp_path, SCRIPTS=str(folder), BUDGET_S="500")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out" / "one.md").read_text()
    assert "| arm | seeds | clf_fid@1 | distil_s | s per run |" in page
    assert "| DDIM | 1 | " in page
    assert "Not finished" not in page
