"""Timelines hold every charge once, in lanes whose events do not cross, and say plainly what is wrong with a request."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests import fake_cluster_run
from toolkit.cluster.timeline import lanes_of, trace_events
from toolkit.core.ledger import Ledger
from toolkit.render.result import Result
from toolkit.timeline import main, write


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> Result:
    return fake_cluster_run.build(tmp_path_factory.mktemp("timeline") / "run", seeds=(3, 4), steps=10)


def names(node: int) -> str:
    return f"machine {node}"


def test_a_charge_by_hand() -> None:
    ledger = Ledger()
    ledger.charge(1.5, 0.25, 3, 3, "compute", phase="gradient", flops=2e9, energy_j=5.0, outcome="done")
    ledger.charge(1.75, 0.5, 3, 1, "tx", phase="", nbytes=400, energy_j=0.5, outcome="delivered")
    ledger.charge(0.0, 7.0, 3, 3, "idle", phase="host", energy_j=7.0)
    ledger.charge(0.0, 7.0, -1, -1, "idle", phase="link a", energy_j=7.0)
    ledger.metric(2.0, "test_accuracy", 0.5)
    ledger.metric(2.5, "test_loss", float("nan"))
    ledger.metric(3.0, "crash", 1.0, "worker1")
    events = list(trace_events(ledger.charges(), ledger.metrics(), names))
    complete = [event for event in events if event["ph"] == "X"]
    lane = complete[1]["tid"]
    assert complete == [
        {"name": "gradient", "cat": "compute", "ph": "X", "pid": 3, "tid": 0, "ts": 1.5e6, "dur": 0.25e6,
         "args": {"bytes": 0, "energy_j": 5.0, "outcome": "done", "flops": 2e9}},
        {"name": "tx", "cat": "tx", "ph": "X", "pid": 3, "tid": lane, "ts": 1.75e6, "dur": 0.5e6,
         "args": {"bytes": 400, "energy_j": 0.5, "outcome": "delivered", "peer": 1}},
    ]
    assert [event["args"] for event in events if event["ph"] == "C"] == [{"test_accuracy": 0.5}]
    assert [(event["name"], event["ts"]) for event in events if event["ph"] == "i"] == [("crash worker1", 3e6)]
    told = {(event["name"], event["pid"], event["tid"]): event["args"] for event in events if event["ph"] == "M"}
    assert told["process_name", 3, 0] == {"name": "machine 3"}
    assert told["thread_name", 3, 0] == {"name": "compute"}
    assert told["thread_name", 3, lane] == {"name": "tx"}


def test_the_file_holds_every_charge_that_took_time_and_can_be_read(result: Result) -> None:
    path, count = write(result.directory, "dense", 4)
    assert path == result.directory / "timeline" / "dense-s4.json"
    events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    assert len(events) == count
    ledger = result.ledger_of("dense", 4)
    complete = [event for event in events if event["ph"] == "X"]
    assert len(complete) == ledger["kind"].isin(["compute", "tx"]).sum()
    assert sum(event["args"]["bytes"] for event in complete if event["cat"] == "tx") == ledger.loc[ledger["kind"] == "tx", "nbytes"].sum()
    lasting_s = ledger.loc[ledger["kind"].isin(["compute", "tx"]), "dur_s"].sum()
    assert sum(event["dur"] for event in complete) == pytest.approx(1e6 * lasting_s)
    processes = {event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert processes == {"worker0", "worker1", "worker2", "worker3", "run"}


def test_events_of_one_lane_do_not_cross(result: Result) -> None:
    path, _ = write(result.directory)
    assert path.name == "gs-SGD-s3.json"
    by_lane = defaultdict(list)
    for event in json.loads(path.read_text(encoding="utf-8"))["traceEvents"]:
        if event["ph"] == "X":
            by_lane[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    assert len(by_lane) == 2 * fake_cluster_run.WORKERS
    for spans in by_lane.values():
        assert all(end <= begin + 1e-6 for (_, end), (begin, _) in pairwise(spans))


def test_messages_at_once_lie_in_lanes_of_their_own_and_as_few_as_it_takes() -> None:
    rng = np.random.default_rng(5)
    begin = np.sort(rng.integers(0, 100_000, 300))
    end = begin + rng.integers(10, 5000, 300)
    lanes, begins = lanes_of(begin, end)
    for lane in np.unique(lanes):
        own = lanes == lane
        assert (begins[own][1:] >= end[own][:-1]).all()
    assert (np.abs(begins - begin) <= 1).all()
    most = max(int(((begin <= moment) & (end > moment + 1)).sum()) for moment in begin)
    assert lanes.max() + 1 == most


def test_rounding_by_a_nanosecond_opens_no_lane() -> None:
    lanes, begins = lanes_of(np.array([0, 9, 20]), np.array([10, 20, 30]))
    assert lanes.tolist() == [0, 0, 0]
    assert begins.tolist() == [0, 10, 20]


def test_names_follow_the_arm_s_own_number_of_workers(result: Result, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(result.directory, run)
    text = (run / "scenario.yaml").read_text(encoding="utf-8")
    (run / "scenario.yaml").write_text(text.replace("  dense: {}", "  dense: {fabric.workers: 3}"), encoding="utf-8")
    path, _ = write(run, "dense", out=tmp_path / "trace.json")
    events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    processes = [event["args"]["name"] for event in events if event["name"] == "process_name"]
    assert processes == ["worker0", "worker1", "worker2", "server0", "run"]
    (run / "scenario.yaml").unlink()
    path, _ = write(run, "dense", out=tmp_path / "trace.json")
    assert '"node 3"' in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--arm", "dens"], "--arm dens: {run} has no such arm; did you mean 'dense'? (has: gs-SGD, dense, Top-k)"),
        (["--seed", "9"], "--seed 9: {run} has no such seed of gs-SGD (has: 3, 4)"),
    ],
)
def test_a_wrong_request_gets_one_sentence(result: Result, capsys, options: list[str], message: str) -> None:
    assert main([str(result.directory), *options]) == 2
    assert capsys.readouterr().err == f"error: {message.format(run=result.directory)}\n"


def test_a_folder_that_is_no_run_and_a_run_without_ledger_are_told(result: Result, tmp_path: Path, capsys) -> None:
    assert main([str(tmp_path)]) == 2
    assert "holds no report.csv" in capsys.readouterr().err
    run = tmp_path / "run"
    shutil.copytree(result.directory, run)
    shutil.rmtree(run / "ledger")
    assert main([str(run)]) == 2
    assert "holds no ledger of gs-SGD, seed 3" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_told(result: Result, tmp_path: Path, capsys) -> None:
    (tmp_path / "file").touch()
    assert main([str(result.directory), "--out", str(tmp_path / "file" / "trace.json")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_the_command_says_what_it_wrote(result: Result, tmp_path: Path, capsys) -> None:
    out = tmp_path / "deep" / "trace.json"
    assert main([str(result.directory), "--arm", "Top-k", "--seed", "4", "--out", str(out)]) == 0
    events = len(json.loads(out.read_text(encoding="utf-8"))["traceEvents"])
    assert capsys.readouterr().out == f"{out}: {events} events\n"


def test_help_loads_nothing_heavy_and_a_timeline_no_torch(result: Result, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom toolkit.timeline import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'pandas', 'numpy', 'matplotlib'} & set(sys.modules)\n"
        f"main([{str(result.directory)!r}, '--out', {str(tmp_path / 'trace.json')!r}])\n"
        "sys.exit(bool(heavy) or 'torch' in sys.modules or 'matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
