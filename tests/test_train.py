"""Real processes on this machine: the same weights and bytes as in the simulator, and what happens when one dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from tests.methods.distributed.test_program import scenario, simulate, watched
from toolkit.cluster.distributed import Checkpoints
from toolkit.core import statefile, yaml12
from toolkit.errors import RunDirectoryError
from toolkit.train import main

PROCESSES = 4


def start(path: Path, out: Path, *options: str, processes: int = PROCESSES) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m", "toolkit.train"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.Popen(
        [*command, str(path), "--out", str(out), "--timeout", "60", *options], text=True, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )


def written(tmp_path: Path, spec: Any) -> Path:
    path = tmp_path / "scenario.yaml"
    path.write_text(yaml12.dump(spec.dump()))
    return path


def weights(out: Path, name: str, step: int, rank: int) -> torch.Tensor:
    kept = statefile.read(out / "checkpoints" / name / f"step-{step:08d}-rank{rank}.npz")
    found: torch.Tensor = kept["state"]["weights"]
    return found


def test_real_processes_end_with_the_weights_and_bytes_of_the_simulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Acceptance check 10: bitwise on the tree; the parameter server beside it, with three workers and one server."""
    spec = scenario({"type": "gs_sgd", "density": 0.05})
    tree = {**spec.dump(), "compare": {
        "gs-SGD": {}, "parameter-server": {"program.method": "parameter_server", "fabric.servers": 1, "fabric.workers": 3},
    }}
    spec = type(spec).build(tree)
    process = start(written(tmp_path, spec), tmp_path / "out")
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    rows = {row["arm"]: row for row in json.loads((tmp_path / "out" / "train.json").read_text())}
    for name, arm in spec.arms().items():
        kept = watched(monkeypatch)
        world, _ = simulate(arm)
        for rank, training in kept.items():
            assert torch.equal(weights(tmp_path / "out", f"{name}-s1", 8, rank), training.weights), (name, rank)
        charges = world.ledger.charges()
        assert rows[name]["total_bytes"] == charges[charges["kind"] == "tx"]["nbytes"].sum()
        accuracies = [metric.value for metric in world.ledger.metrics().itertuples() if metric.name == "test_accuracy"]
        assert rows[name]["test_accuracy"] == accuracies[-1]


def workers_of(launcher: int) -> dict[int, int]:
    """Process ids of the workers by rank."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "status").read_text()
            if f"PPid:\t{launcher}\n" not in status:
                continue
            environment = dict(item.split("=", 1) for item in (folder / "environ").read_text().split("\0") if "=" in item)
        except OSError:
            continue
        if "RANK" in environment:
            found[int(environment["RANK"])] = int(folder.name)
    return found


@pytest.mark.slow
def test_a_rank_that_dies_is_told_and_the_run_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    spec = scenario({"type": "gs_sgd", "density": 0.05}, steps=400, save_every=20, evaluate_every=400)
    path = written(tmp_path, spec)
    process = start(path, tmp_path / "out")
    folder = tmp_path / "out" / "checkpoints" / "test-s1"
    until = time.monotonic() + 120
    while not list(folder.glob("step-00000040-*")) and time.monotonic() < until:
        time.sleep(0.05)
    os.kill(workers_of(process.pid)[2], signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    told = errors.splitlines()[-1]
    assert told.startswith("error: rank ")
    assert f"lost another process, or heard nothing of it for 60 s (--timeout); checkpoints are kept in {folder}" in told
    assert "--resume" in told
    assert "gloo" not in told
    last = max(int(file.name.split("-")[1]) for file in folder.glob("*-rank0.npz"))
    assert 40 <= last < 400

    resumed = start(path, tmp_path / "out", "--resume")
    _, errors = resumed.communicate(timeout=200)
    assert resumed.returncode == 0, errors
    whole = start(path, tmp_path / "whole")
    _, errors = whole.communicate(timeout=200)
    assert whole.returncode == 0, errors
    for rank in range(PROCESSES):
        assert torch.equal(weights(tmp_path / "out", "test-s1", 400, rank), weights(tmp_path / "whole", "test-s1", 400, rank))
    rows = [json.loads((tmp_path / name / "train.json").read_text())[0] for name in ("out", "whole")]
    assert rows[0]["total_bytes"] == rows[1]["total_bytes"]


def finished(path: Path, out: Path, *options: str, processes: int = 2) -> tuple[int, str, str]:
    process = start(path, out, *options, processes=processes)
    said, errors = process.communicate(timeout=200)
    return process.returncode, said, errors


@pytest.mark.slow
def test_a_resumed_run_counts_both_parts_and_only_the_same_settings_go_on(tmp_path: Path) -> None:
    spec = scenario({"type": "gs_sgd", "density": 0.05}, workers=2, steps=6, save_every=2)
    path, out = written(tmp_path, spec), tmp_path / "out"
    record = out / "test-s1.json"
    code, _, errors = finished(path, out)
    assert code == 0, errors
    whole = json.loads(record.read_text())["row"]

    code, _, errors = finished(path, out, "--resume", "--set", "program.lr=0.2")
    assert code != 0
    assert f"error: {record}: was made with program.lr 0.1 (now 0.2); --resume goes on with the same settings only" in errors

    record.unlink()
    for file in (out / "checkpoints" / "test-s1").glob("step-00000006-*"):
        file.unlink()
    code, _, errors = finished(path, out, "--resume", "--set", "program.batch=4")
    assert code != 0
    assert f"{out / 'checkpoints' / 'test-s1'}: was made with program.batch 8 (now 4)" in errors
    kept = statefile.read(out / "checkpoints" / "test-s1" / "step-00000004-rank0.npz")
    kept_s, processes = kept["wall_s"], kept["processes"]
    assert kept_s > 0
    assert processes == 2

    code, _, errors = finished(path, out, "--resume")
    assert code == 0, errors
    resumed = json.loads(record.read_text())["row"]
    assert {name: resumed[name] for name in ("busiest_bytes", "total_bytes", "test_loss")} == {
        name: whole[name] for name in ("busiest_bytes", "total_bytes", "test_loss")
    }
    assert resumed["wall_s"] > kept_s

    code, _, errors = finished(path, out, "--resume", processes=1)
    assert code != 0
    assert "fabric.workers 2 (now 1), processes 2 (now 1)" in errors


@pytest.mark.slow
def test_a_damaged_checkpoint_ends_every_rank_and_is_told_once_and_last(tmp_path: Path) -> None:
    """Whichever rank it is of: the others learn of it from that one, and do not wait for it or call it lost."""
    path, out = written(tmp_path, scenario("dense", workers=2, steps=4, save_every=2)), tmp_path / "out"
    code, _, errors = finished(path, out)
    assert code == 0, errors
    (out / "test-s1.json").unlink()
    damaged = out / "checkpoints" / "test-s1" / "step-00000004-rank1.npz"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    begun_s = time.monotonic()
    code, said, errors = finished(path, out, "--resume")
    assert time.monotonic() - begun_s < 50  # below --timeout
    assert code != 0
    assert said == ""
    assert errors.count("error: ") == 1
    assert errors.splitlines()[-1].startswith(f"error: {damaged}: cannot be read as a state that was kept (")
    assert "exitcode  : 2 " in errors
    assert "exitcode  : 1 " not in errors


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    """A group of this process alone."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("alone")
def test_a_rank_goes_on_from_the_last_step_that_can_be_one(tmp_path: Path) -> None:
    """The last two are kept; files that only look like one are none, and one that holds something else is told."""
    def checkpoints(resume: bool, **settings: Any) -> Checkpoints:
        return Checkpoints(tmp_path / "kept", 0, 1, resume, {"lr": 0.1, **settings})

    first = checkpoints(False)
    assert first.load() is None
    for step in (2, 4, 6):
        first.keep(step, {"step": step}, sent_bytes=10 * step, wall_s=0.5 * step)
    assert first.steps() == [4, 6]
    (tmp_path / "kept" / "step-last-rank0.npz").write_bytes(b"")
    kept = checkpoints(True).load()
    assert kept is not None
    assert (kept["state"], kept["sent_bytes"], kept["wall_s"]) == ({"step": 6}, 60, 3.0)
    with pytest.raises(RunDirectoryError, match=r"was made with lr 0.1 \(now 0.2\)"):
        checkpoints(True, lr=0.2).load()
    for other in ({}, [1], {"processes": 1}, {**kept, "more": 1}):
        statefile.write(tmp_path / "kept" / "step-00000006-rank0.npz", other)
        with pytest.raises(RunDirectoryError, match=r"step-00000006-rank0.npz: cannot be read .* \(it holds something else\)"):
            checkpoints(True).load()
    assert checkpoints(False).load() is None
    assert checkpoints(True).steps() == []


def test_without_torchrun_a_finished_arm_is_skipped_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = written(tmp_path, scenario("dense", workers=2, steps=2)), tmp_path / "out"
    assert main([str(path), "--out", str(out)]) == 0
    first = json.loads((out / "train.json").read_text())
    assert main([str(path), "--out", str(out), "--resume"]) == 0
    assert json.loads((out / "train.json").read_text()) == first  # the wall time too
    assert main([str(path), "--out", str(out), "--resume", "--set", "fabric.workers=1"]) == 2
    assert "was made with fabric.workers 2 (now 1)" in capsys.readouterr().err


@pytest.mark.slow
def test_another_number_of_workers_is_told_above_the_table(tmp_path: Path) -> None:
    spec = scenario("dense", workers=4, steps=1)
    tree = {**spec.dump(), "compare": {
        "dense": {}, "parameter-server": {"program.method": "parameter_server", "fabric.servers": 1}, "fits": {"fabric.workers": 2},
    }}
    code, said, errors = finished(written(tmp_path, type(spec).build(tree)), tmp_path / "out")
    assert code == 0, errors
    head = said[: said.index("test accuracy")].splitlines()
    assert head[0] == "dense: 2 workers instead of the scenario's 4, which is another experiment"
    assert head[1] == (
        "parameter-server: 1 worker instead of the scenario's 4, which is another experiment; "
        "1 fewer than other arms, since 1 of the processes served"
    )
    assert "fits: " not in said


@pytest.mark.slow
def test_bytes_on_the_loopback_are_the_payload(tmp_path: Path) -> None:
    """Acceptance check 10: in a network namespace of its own, what the kernel counts is within 0.5 % of the payloads."""
    if subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode:
        pytest.skip("network namespaces are not allowed here")
    code = tmp_path / "reduce.py"
    code.write_text(
        "import sys, torch, torch.distributed as dist\n"
        "from pathlib import Path\n"
        "from toolkit.cluster.distributed import Checkpoints, DistributedContext\n"
        "from toolkit.collectives import Collectives\n"
        "dist.init_process_group('gloo')\n"
        "rank = dist.get_rank()\n"
        "def counted():\n"
        "    line = next(line for line in Path('/proc/net/dev').read_text().splitlines() if 'lo:' in line)\n"
        "    return int(line.split(':')[1].split()[8])\n"
        "sent, on_the_wire = 0, 0\n"
        "for name in ('binomial', 'ring', 'rabenseifner', 'recursive_doubling'):\n"
        "    collectives = Collectives.model_validate({'all_reduce': name})\n"
        "    ctx = DistributedContext(4, 0, 1, collectives, Checkpoints(Path('unused'), rank, 4, False))\n"
        "    def program():\n"
        "        yield from ctx.all_reduce(torch.ones(4_000_000))\n"
        "    dist.barrier()\n"
        "    before = counted()\n"
        "    dist.barrier()\n"
        "    ctx.run(program())\n"
        "    dist.barrier()\n"
        "    after = counted()\n"
        "    total = [0] * 4\n"
        "    dist.all_gather_object(total, ctx.sent_bytes)\n"
        "    if rank == 0:\n"
        "        print('RATIO', name, (after - before) / sum(total), flush=True)\n"
    )
    command = (
        f"ip link set lo up && GLOO_SOCKET_IFNAME=lo OMP_NUM_THREADS=1 {sys.executable} -m torch.distributed.run --master_addr 127.0.0.1 "
        f"--master_port 29500 --nproc_per_node=4 {code}"
    )
    done = subprocess.run(["unshare", "-n", "bash", "-c", command], capture_output=True, text=True, timeout=200, check=False)
    if "ip: command not found" in done.stderr:
        pytest.skip("the ip command is missing")
    ratios = {line.split()[1]: float(line.split()[2]) for line in done.stdout.splitlines() if line.startswith("RATIO")}
    assert len(ratios) == 4, done.stderr
    assert all(1.0 <= ratio <= 1.005 for ratio in ratios.values()), ratios


def test_too_few_processes_get_one_sentence(tmp_path: Path) -> None:
    spec = scenario("parameter_server")
    process = start(written(tmp_path, spec), tmp_path / "out", processes=1)
    _, errors = process.communicate(timeout=100)
    assert process.returncode != 0
    assert "needs 1 servers and at least 1 worker" in errors
    assert "Traceback" not in errors.split("error:")[1].splitlines()[0]
