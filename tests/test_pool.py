"""Engines: whatever runs the processes, every run is done once and comes to the same; what dies is done again or told in a sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.test_resume import whole
from tests.test_simulate import run, tiny
from toolkit.errors import ScenarioError, WorkerLostError
from toolkit.pool import Engine

pytestmark = pytest.mark.usefixtures("undrawn_module")


def double(item: int) -> int:
    return 2 * item


def die_at_first(flag: str) -> str:
    """Kill the process that this is tried in first; a flag on disk says that it has been tried."""
    try:
        Path(flag).touch(exist_ok=False)
    except FileExistsError:
        return "done"
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"


def refuse(item: int) -> int:
    raise ScenarioError(f"item {item}: is refused")


def engine(name: str, processes: int = 2) -> Engine:
    if name != "loky":
        pytest.importorskip({"dask": "distributed", "ray": "ray"}[name])
    return Engine(name, processes)


ELSEWHERE = ("dask", pytest.param("ray", marks=pytest.mark.slow))


@pytest.mark.parametrize(("name", "processes"), [("loky", 1), ("loky", 2), ("dask", 2), pytest.param("ray", 2, marks=pytest.mark.slow)])
def test_every_item_is_done_once(name: str, processes: int) -> None:
    assert sorted(engine(name, processes).map(double, range(5))) == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("name", ["loky", *ELSEWHERE])
def test_what_is_wrong_in_a_process_is_told_as_it_was_raised_there(name: str) -> None:
    with pytest.raises(ScenarioError, match=r"^item [01]: is refused$"):
        list(engine(name).map(refuse, range(2)))


@pytest.mark.parametrize("name", ELSEWHERE)
def test_dask_and_ray_do_again_what_a_killed_process_was_doing(name: str, tmp_path: Path) -> None:
    assert list(engine(name).map(die_at_first, [str(tmp_path / "0"), str(tmp_path / "1")])) == ["done"] * 2


def test_loky_tells_that_a_process_was_killed(tmp_path: Path) -> None:
    with pytest.raises(WorkerLostError, match="killed or died"):
        list(engine("loky").map(die_at_first, [str(tmp_path / "0"), str(tmp_path / "1")]))


@pytest.mark.parametrize("name", ELSEWHERE)
def test_runs_have_the_same_bytes_on_any_engine(name: str, tmp_path: Path) -> None:
    engine(name)
    path = tiny(tmp_path, seeds=1)
    assert run(path, tmp_path / "here", "--jobs", "1") == 0
    assert run(path, tmp_path / "there", "--jobs", "2", "--backend", name) == 0
    assert whole(tmp_path / "here") == whole(tmp_path / "there")


@pytest.mark.slow
def test_a_dask_scheduler_elsewhere_is_used(tmp_path: Path) -> None:
    """A scheduler and two workers, each a process of its own; one worker is killed while they work, and nothing is lost."""
    pytest.importorskip("distributed")
    file = tmp_path / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": Path(__file__).parent.parent}
    dask = [sys.executable, "-W", "ignore", "-m", "distributed.cli"]
    started = [
        subprocess.Popen(
            [*dask[:-1], "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", file], **quiet
        ),
        *(subprocess.Popen([*dask[:-1], "distributed.cli.dask_worker", "--scheduler-file", file, "--nthreads", "1", "--no-nanny",
                            "--no-dashboard"], **quiet) for _ in range(2)),
    ]
    try:
        deadline_s = time.monotonic() + 60
        while not file.exists() or not file.stat().st_size:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        import json

        address = json.loads(file.read_text())["address"]
        path = tiny(tmp_path)
        assert run(path, tmp_path / "here", "--jobs", "1") == 0
        engine_there = Engine("dask", 2, address)
        results = engine_there.map(die_at_first, [str(tmp_path / "killed")])
        assert list(results) == ["done"]
        assert run(path, tmp_path / "there", "--backend", "dask", "--address", address) == 0
        assert whole(tmp_path / "here") == whole(tmp_path / "there")
    finally:
        for process in started:
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--address", "tcp://127.0.0.1:1"), "loky runs on this machine alone"),
        (("--backend", "dask", "--address", "nonsense"), "no Dask scheduler answers there"),
    ],
)
def test_an_address_at_which_nobody_answers_is_told(
    options: tuple[str, ...], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine("dask")
    monkeypatch.setattr("toolkit.pool.PATIENCE", "1s")
    assert run(tiny(tmp_path), tmp_path / "out", *options) == 2
    assert sentence in capsys.readouterr().err
