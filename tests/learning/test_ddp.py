"""The DDP hook with real gloo processes on this machine. A deadlock ends in a failure, not in a test that hangs."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from toolkit.collectives import Collectives
from toolkit.core.context import Asking, Context
from toolkit.core.local import run_local
from toolkit.core.streams import Streams
from toolkit.learning.ddp import GsSgdHook
from toolkit.learning.flat import FlatLayout, adopt, gradient
from toolkit.methods.distributed import Step
from toolkit.methods.distributed.gs_sgd import GsSgd

ROOT = Path(__file__).parent.parent.parent
LIMIT_S = 100
LR = 0.1
SEED = 5
HASH_SEED = int(Streams(SEED).shared("sketch").integers(2**63))
SMALL_BUCKETS_MB = 0.001
K = 60


def build() -> nn.Module:
    """Return a network of 4,710 parameters in six tensors."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(30, 60), nn.Tanh(), nn.Linear(60, 40), nn.Tanh(), nn.Linear(40, 10))


def loss_of(model: nn.Module, rank: int, step: int) -> Tensor:
    generator = torch.Generator().manual_seed(1000 * rank + step)
    inputs = torch.randn(8, 30, generator=generator)
    return nn.functional.cross_entropy(model(inputs), inputs[:, :10].argmax(1))


def flat(model: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])


def trained(steps: int, *, cap_mb: float = 25, momentum: float = 0.0, hook: dict[str, Any] | None = None, **resume: Any) -> dict[str, Any]:
    """Train by DDP in this process; *hook* holds the settings of the hook, without which there is none."""
    rank = dist.get_rank()
    model = build()
    model.load_state_dict(resume.get("model", model.state_dict()))
    ddp = DistributedDataParallel(model, bucket_cap_mb=cap_mb)
    state = None
    buckets = [0] * steps
    begin = 0
    if hook is not None:
        state = GsSgdHook(model.parameters(), **{"k": K, "seed": HASH_SEED, **hook})
        if "state" in resume:
            state.load_state_dict(resume["state"])
            begin = state.step
        if "step" in resume:
            state.step = resume["step"]

        def counting(state, bucket):  # type: ignore[no-untyped-def]
            buckets[done] += 1
            return GsSgdHook.hook(state, bucket)

        ddp.register_comm_hook(state, counting)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=momentum)
    losses = []
    for done in range(steps):
        loss = loss_of(ddp, rank, begin + done)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return {
        "weights": flat(model), "losses": losses, "buckets": buckets, "model": model.state_dict(),
        "state": state and state.state_dict(), "payload": state and state.payload_bytes,
    }


def scenes(settings: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Run several trainings one after the other in the same processes, and at last one that goes wrong."""
    results: dict[str, Any] = {name: trained(**values) for name, values in settings.items()}
    results["sentence"] = disagreeing()
    return results


def resumed(cap_mb: float, tables: str) -> dict[str, Any]:
    hook = {"momentum": 0.9, "tables": tables}
    whole = trained(12, cap_mb=cap_mb, hook=hook)
    half = trained(7, cap_mb=cap_mb, hook=hook)
    file = io.BytesIO()
    torch.save({"model": half["model"], "state": half["state"]}, file)
    file.seek(0)
    rest = trained(5, cap_mb=cap_mb, hook=hook, **torch.load(file, weights_only=True))
    return {"whole": whole, "rest": rest}


def disagreeing() -> str:
    try:
        trained(3, hook={"seed": min(dist.get_rank(), 1)})
    except RuntimeError as error:
        return str(error)
    return "nobody noticed"


def enter(rank: int, ranks: int, port: int, folder: str, work: Any, values: dict[str, Any]) -> None:
    """What a spawned process does: what `torchrun` would set, then the work, then its result into a file."""
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(ranks), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    result = work(**values)
    torch.save(result, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def launch(ranks: int, folder: Path, work: Any, **values: Any) -> list[Any]:
    """Run *work* on *ranks* processes and return their results; fail if they have not ended in time."""
    spawn = torch.multiprocessing.get_context("spawn")
    port = free_port()
    processes = [spawn.Process(target=enter, args=(rank, ranks, port, str(folder), work, values), daemon=True) for rank in range(ranks)]
    for process in processes:
        process.start()
    deadline = time.monotonic() + LIMIT_S
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
    stuck = [rank for rank, process in enumerate(processes) if process.is_alive()]
    for rank in stuck:
        processes[rank].kill()
        processes[rank].join()
    assert not stuck, f"ranks {stuck} had not ended after {LIMIT_S} s"
    assert [process.exitcode for process in processes] == [0] * ranks
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(ranks)]


SCENES: dict[str, dict[str, Any]] = {
    "plain": {"steps": 12, "momentum": 0.9},
    "one": {"steps": 12, "hook": {"momentum": 0.9}},
    "whole": {"steps": 12, "cap_mb": SMALL_BUCKETS_MB, "hook": {"momentum": 0.9}},
    "bucket": {"steps": 12, "cap_mb": SMALL_BUCKETS_MB, "hook": {"momentum": 0.9, "tables": "bucket"}},
    "small": {"steps": 12, "cap_mb": SMALL_BUCKETS_MB, "hook": {"momentum": 0.9, "dense_below": 100}},
    "small bucket": {"steps": 12, "cap_mb": SMALL_BUCKETS_MB, "hook": {"dense_below": 100, "tables": "bucket"}},
    "all": {"steps": 12, "cap_mb": SMALL_BUCKETS_MB, "hook": {"k": 4710, "momentum": 0.9, "masking": False}},
    "all bucket": {"steps": 12, "cap_mb": SMALL_BUCKETS_MB, "hook": {"k": 4710, "momentum": 0.9, "masking": False, "tables": "bucket"}},
    "no dense steps": {"steps": 12, "cap_mb": SMALL_BUCKETS_MB, "hook": {"momentum": 0.9}, "step": 2},
}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Every scene on two ranks."""
    return launch(2, tmp_path_factory.mktemp("two"), scenes, settings=SCENES)


@pytest.mark.parametrize("scene", SCENES)
def test_replicas_are_equal_to_the_bit(two: list[dict[str, Any]], scene: str) -> None:
    assert torch.equal(two[0][scene]["weights"], two[1][scene]["weights"])
    assert not torch.equal(two[0][scene]["weights"], flat(build()))


def test_buckets_were_rebuilt(two: list[dict[str, Any]]) -> None:
    assert two[0]["one"]["buckets"] == [1] * 12
    first, *others = two[0]["whole"]["buckets"]
    assert first == 1
    assert min(others) >= 3


def test_buckets_make_no_difference_to_one_table(two: list[dict[str, Any]]) -> None:
    torch.testing.assert_close(two[0]["whole"]["weights"], two[0]["one"]["weights"], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(two[0]["bucket"]["weights"], two[0]["one"]["weights"], atol=1e-4)


@pytest.mark.parametrize("scene", ["all", "all bucket"])
def test_all_coordinates_are_plain_ddp(two: list[dict[str, Any]], scene: str) -> None:
    torch.testing.assert_close(two[0][scene]["weights"], two[0]["plain"]["weights"], rtol=1e-5, atol=1e-6)


def test_payload_bytes(two: list[dict[str, Any]]) -> None:
    """Two dense steps, then table and candidates; the digest of the settings is not counted."""
    dense = 4 * 4710
    assert two[0]["one"]["payload"] == two[0]["whole"]["payload"] == 2 * dense + 10 * 4 * (5 * 608 + 4 * K)
    assert two[0]["small"]["payload"] == 2 * dense + 10 * 4 * (5 * 608 + 4 * K + 60 + 40 + 10)
    assert two[0]["no dense steps"]["payload"] == 12 * 4 * (5 * 608 + 4 * K)


def test_it_learns(two: list[dict[str, Any]]) -> None:
    for scene in ("one", "whole", "bucket"):
        losses = two[0][scene]["losses"]
        assert sum(losses[-3:]) < sum(losses[:3])


def simulated(settings: dict[str, Any], ranks: int, steps: int) -> Tensor:
    """The same training by the method of the simulator."""
    weights: list[Tensor] = [torch.empty(0)] * ranks
    method = GsSgd.model_validate(settings)

    def program(ctx: Context) -> Asking:
        model = build()
        weights[ctx.rank] = adopt(model)
        state = method.init(ctx, FlatLayout.of(model))
        for index in range(steps):
            model.zero_grad()
            loss_of(model, ctx.rank, index).backward()  # type: ignore[no-untyped-call]
            yield from method.step(ctx, state, weights[ctx.rank], gradient(model.parameters()), Step(index, LR))

    run_local(program, ranks, SEED, collectives=Collectives.model_validate({"all_reduce": "binomial"}))
    return weights[0]


def test_the_hook_and_the_simulators_method_are_one(two: list[dict[str, Any]]) -> None:
    weights = simulated({"k": K, "momentum": 0.9}, 2, 12)
    torch.testing.assert_close(two[0]["no dense steps"]["weights"], weights, rtol=1e-5, atol=1e-6)


def test_a_different_seed_is_noticed_by_all(two: list[dict[str, Any]]) -> None:
    for result in two:
        assert "ranks [1] have other settings, seed or model than rank 0" in result["sentence"]


@pytest.mark.slow
@pytest.mark.parametrize(("cap_mb", "tables"), [(25, "whole"), (SMALL_BUCKETS_MB, "whole"), (25, "bucket")])
def test_a_resumed_run_goes_on_as_if_nothing_had_happened(tmp_path: Path, cap_mb: float, tables: str) -> None:
    """With one bucket to the bit; with several, the order of additions in the first step after the restart is another."""
    for result in launch(2, tmp_path, resumed, cap_mb=cap_mb, tables=tables):
        if cap_mb == 25:
            assert torch.equal(result["whole"]["weights"], result["rest"]["weights"])
        torch.testing.assert_close(result["whole"]["weights"], result["rest"]["weights"], rtol=1e-5, atol=1e-6)
        assert result["rest"]["state"]["step"] == 12


@pytest.mark.slow
def test_four_ranks_stay_equal_for_many_steps(tmp_path: Path) -> None:
    """The regression of several buckets in flight, where a second round started from a callback was seen to stop."""
    names = ("one", "whole", "bucket", "small", "small bucket", "no dense steps")
    settings = {name: {**SCENES[name], "steps": 60} for name in names}
    results = launch(4, tmp_path, scenes, settings=settings)
    for name in names:
        assert all(torch.equal(result[name]["weights"], results[0][name]["weights"]) for result in results)
        assert sum(results[0][name]["losses"][-5:]) < sum(results[0][name]["losses"][:5])
        assert "ranks [1, 2, 3] have other settings" in results[0]["sentence"]
    weights = simulated({"k": K, "momentum": 0.9}, 4, 60)
    torch.testing.assert_close(results[0]["no dense steps"]["weights"], weights, rtol=1e-4, atol=1e-5)


def test_the_example_of_the_documentation_runs(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "ddp.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 32
    script = tmp_path / "train.py"
    script.write_text(code, encoding="utf-8")
    port = free_port()
    running = [
        subprocess.Popen(
            [sys.executable, str(script)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={
                **os.environ, "PYTHONPATH": str(ROOT), "RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
            },
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=LIMIT_S) for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0, 0], said
    words = said[0][0].split()
    assert words[0] == "loss"
    assert float(words[1].rstrip(",")) < 0.9
    k = round(0.05 * (20 * 200 + 200 + 200 * 5 + 5))
    cols = -(-10 * k // 16) * 16
    assert int(words[2]) == 2 * 4 * 5205 + 198 * 4 * (5 * cols + 4 * k)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"start_step": 1}, "start_step must be at least 2"),
        ({"rows": 4}, "must be odd"),
        ({"cols": 100}, "multiple of"),
        ({"k": 4711}, "between 1 and the 4710 compressed coordinates"),
        ({"density": 0.0}, "density must be above 0"),
        ({"momentum": 1.0}, "momentum must be"),
        ({"p2": 0}, "p2 must be"),
        ({"tables": "some"}, "'whole' or 'bucket'"),
        ({"dense_below": 5000}, "leaves no parameter to compress"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        GsSgdHook(build().parameters(), **settings)
    with pytest.raises(ValueError, match="no parameter"):
        GsSgdHook([])


def test_a_state_of_another_model_is_refused() -> None:
    saved = GsSgdHook(build().parameters(), k=K).state_dict()
    with pytest.raises(ValueError, match="the saved state has size 4710, this hook has 310"):
        GsSgdHook(nn.Linear(30, 10).parameters()).load_state_dict(saved)
    with pytest.raises(ValueError, match="the saved state has seed 0, this hook has 3"):
        GsSgdHook(build().parameters(), k=K, seed=3).load_state_dict(saved)
