"""Killed at any moment, twenty times over: what `--resume` ends with has every byte of an undisturbed comparison."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.test_resume import whole
from tests.test_simulate import ROOT

KILLS = 20
SETTINGS = {
    "routing_protocols": ("duration_s=7200", "seeds=1", "fabric.layout.nodes=12", "fabric.drain_s=900"),
    "clfd_edge": ("seeds=1", "program.budget.epochs=1", "program.stream.tasks=2", "program.save_every=3"),
    "gs_sgd": ("seeds=1", "program.steps=12", "program.evaluate_every=4"),
}
"""Of each kind one comparison, small enough to be run a few dozen times."""


def started(scenario: str, out: Path, *more: str) -> subprocess.Popen[bytes]:
    options = [option for setting in SETTINGS[scenario] for option in ("--set", setting)]
    return subprocess.Popen(
        [sys.executable, "-m", "toolkit.simulate", f"scenarios/{scenario}.yaml", *options, "--quick", "--quiet", "--jobs", "2",
         "--out", out, *more],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("scenario", sorted(SETTINGS))
def test_twenty_kills_change_no_byte(scenario: str, tmp_path: Path) -> None:
    begun_s = time.monotonic()
    undisturbed = started(scenario, tmp_path / "undisturbed")
    _, errors = undisturbed.communicate()
    assert undisturbed.returncode == 0, errors.decode()
    lasts_s = time.monotonic() - begun_s
    expected = whole(tmp_path / "undisturbed")
    rng = random.Random(scenario)
    out = tmp_path / "killed"
    kills = 0
    while True:
        process = started(scenario, out, "--resume")
        try:
            process.wait(rng.uniform(0.2, 0.8) * lasts_s if kills < KILLS else None)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)  # the workers are left to see it for themselves
            process.wait()
            assert process.stderr is not None
            process.stderr.close()
            kills += 1
            time.sleep(0.2)
            continue
        assert process.stderr is not None
        errors = process.stderr.read()
        process.stderr.close()
        assert process.returncode == 0, errors.decode()
        assert whole(out) == expected
        if kills >= KILLS:
            return
        shutil.rmtree(out)
