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
LIMIT_S = 300
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
    """Run several trainings one after the other in the same processes, and one that goes wrong."""
    results: dict[str, Any] = {name: trained(**values) for name, values in settings.items()}
    results["sentence"] = disagreeing()
    return results


def everything() -> dict[str, Any]:
    """All scenes, and what needs more than a training."""
    results = scenes(SCENES)
    results["resumed"] = {f"{cap} {tables}": resumed(cap, tables) for cap in (25, SMALL_BUCKETS_MB) for tables in ("whole", "bucket")}
    results["sparse"] = sparse()
    results["other group"] = in_another_group()
    results["conserved"] = {name: conserved(**values) for name, values in CONSERVED.items()}
    results["infinite"] = {tables: infinite(tables) for tables in ("whole", "bucket")}
    return results


class Branches(nn.Module):
    """A trunk, two branches of which one is taken, and a head with the trunk's weight."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.head = nn.Linear(30, 30), nn.Linear(30, 30)
        self.left, self.right = nn.Linear(30, 30), nn.Linear(30, 30)
        self.head.weight = self.trunk.weight

    def forward(self, x: Tensor, left: bool = True) -> Tensor:
        out: Tensor = self.head(torch.tanh((self.left if left else self.right)(torch.tanh(self.trunk(x)))))
        return out


def branches() -> Branches:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Branches()


def takes_left(rank: int, step: int) -> bool:
    """Three steps left, three steps right, and one in which the ranks differ."""
    return rank == 0 if step % 7 == 6 else step % 7 < 3


CONSERVED: dict[str, dict[str, Any]] = {
    f"{tables} {name}": {"hook": {"tables": tables, "momentum": momentum, "masking": False, **more}, **how}
    for tables in ("whole", "bucket")
    for name, momentum, more, how in (
        ("plain", 0.0, {}, {}),
        ("momentum", 0.6, {}, {}),
        ("small", 0.6, {"dense_below": 100}, {}),
        ("view", 0.0, {}, {"as_view": True}),
        ("zeros kept", 0.6, {}, {"to_none": False}),
        ("scaled", 0.6, {"dense_below": 100}, {"scaled": True}),
        ("group", 0.6, {}, {"alone": True}),
    )
}


def conserved(*, hook: dict[str, Any], as_view: bool = False, to_none: bool = True, scaled: bool = False, alone: bool = False) -> float:
    """Train; return by how much the mean gradients miss what the optimiser was given and what waits, relative to their size.

    With momentum m each gradient comes to g / (1 - m) in the end, and a momentum u has m u / (1 - m) still to come.
    """
    rank, ranks = dist.get_rank(), 1 if alone else dist.get_world_size()
    group = [dist.new_group([i]) for i in range(dist.get_world_size())][rank] if alone else None
    model = branches()
    ddp = DistributedDataParallel(
        model, bucket_cap_mb=SMALL_BUCKETS_MB, find_unused_parameters=True, gradient_as_bucket_view=as_view, process_group=group
    )
    listed = [*model.trunk.parameters(), *model.head.parameters(), *model.left.parameters(), *model.right.parameters()]
    state = GsSgdHook(listed, **{"k": 120, "seed": HASH_SEED, **hook})
    ddp.register_comm_hook(state, GsSgdHook.hook)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**9, growth_interval=4, enabled=scaled)
    parameters = list(model.parameters())
    given = [torch.zeros_like(p, dtype=torch.float64) for p in parameters]
    came = [torch.zeros_like(p, dtype=torch.float64) for p in parameters]
    for step in range(21):  # three times all that `takes_left` has
        generator = torch.Generator().manual_seed(1000 * rank + step)
        inputs = torch.randn(8, 30, generator=generator)
        left = takes_left(0 if alone else rank, step)
        own = torch.autograd.grad(model(inputs, left).square().mean(), parameters, allow_unused=True)
        if scaled:
            state.rescale(scaler.get_scale())
        optimizer.zero_grad(set_to_none=to_none)
        scaler.scale(ddp(inputs, left).square().mean()).backward()
        scaler.unscale_(optimizer)
        for i, p in enumerate(parameters):
            came[i] += 0 if own[i] is None else own[i]
            given[i] += 0 if p.grad is None else p.grad
        scaler.step(optimizer)
        scaler.update()
    if scaled:
        assert scaler.get_scale() == 2.0**14
    m, missed, size = hook["momentum"], 0.0, 0.0
    for i, p in enumerate(parameters):
        memory, number = state.memory, state.memory.number_of(p)
        waits = torch.zeros(p.numel(), dtype=torch.float64)
        if memory.is_small[number]:
            waits += m / (1 - m) * memory.velocity[memory.places[number]]
        else:
            waits += memory.error[memory.places[number]]
            if m:
                waits += m / (1 - m) * memory.momentum[memory.places[number]]
        both = torch.stack([waits.view_as(p), came[i]])
        if not alone:
            dist.all_reduce(both)
        mean, expected = both[0] / ranks, both[1] / ranks / (1 - m)
        missed += float((given[i] + mean - expected).square().sum())
        size += float(expected.square().sum())
    return (missed / size) ** 0.5


def infinite(tables: str) -> dict[str, Any]:
    """One rank's gradient is infinite once among the first steps and once later; what changes, and whether training goes on."""
    rank, model = dist.get_rank(), build()
    ddp = DistributedDataParallel(model, bucket_cap_mb=SMALL_BUCKETS_MB)
    state = GsSgdHook(model.parameters(), k=K, seed=HASH_SEED, tables=tables, momentum=0.5, dense_below=50)  # type: ignore[arg-type]
    ddp.register_comm_hook(state, GsSgdHook.hook)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**9, growth_interval=1000)
    losses, changed, grads = [], [], []
    for step in range(30):
        spoilt = step in (1, 12)
        handle = next(model.parameters()).register_hook(lambda g, bad=spoilt and rank == 1: g * torch.inf if bad else g)
        before = {name: value.clone() for name, value in state.state_dict().items() if isinstance(value, Tensor)}
        weights = flat(model)
        state.rescale(scaler.get_scale())
        optimizer.zero_grad()
        loss = loss_of(ddp, rank, step)
        scaler.scale(loss).backward()
        if spoilt:
            grads.append(all(not p.grad.isfinite().all() for p in model.parameters() if p.grad is not None))
            after = state.state_dict()
            changed.append([name for name, value in before.items() if not torch.equal(value, after[name])])
        scaler.step(optimizer)
        scaler.update()
        if spoilt:
            changed[-1] += [] if torch.equal(weights, flat(model)) else ["weights"]
        losses.append(float(loss.detach()))
        handle.remove()
    return {"losses": losses, "changed": changed, "grads": grads, "scale": scaler.get_scale(), "skipped": state.skipped,
            "weights": flat(model)}


def sparse() -> str:
    model = nn.Sequential(nn.Embedding(50, 8, sparse=True), nn.Flatten(), nn.Linear(16, 4))
    ddp = DistributedDataParallel(model)
    ddp.register_comm_hook(GsSgdHook(model.parameters()), GsSgdHook.hook)
    try:
        ddp(torch.tensor([[1, 2], [3, 4]])).sum().backward()
    except RuntimeError as error:
        return str(error)
    return "nobody noticed"


def in_another_group() -> str:
    alone = [dist.new_group([i]) for i in range(dist.get_world_size())][dist.get_rank()]
    model = build()
    ddp = DistributedDataParallel(model, process_group=alone)
    ddp.register_comm_hook(GsSgdHook(model.parameters(), process_group=dist.group.WORLD), GsSgdHook.hook)
    try:
        loss_of(ddp, 0, 0).backward()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        return str(error)
    return "nobody noticed"


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
    os._exit(0)  # DDP keeps gloo's threads for ever: one that is still in a callback when Python ends would abort the process


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
    return launch(2, tmp_path_factory.mktemp("two"), everything)


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
    """Two dense steps, then table and candidates; always six flags; the digest of the settings is not counted."""
    dense, flags = 4 * 4710, 12 * 4 * 6
    assert two[0]["one"]["payload"] == two[0]["whole"]["payload"] == 2 * dense + 10 * 4 * (5 * 608 + 4 * K) + flags
    assert two[0]["small"]["payload"] == 2 * dense + 10 * 4 * (5 * 608 + 4 * K + 60 + 40 + 10) + flags
    assert two[0]["no dense steps"]["payload"] == 12 * 4 * (5 * 608 + 4 * K) + flags


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


@pytest.mark.parametrize("scene", CONSERVED)
def test_gradients_are_given_or_wait(two: list[dict[str, Any]], scene: str) -> None:
    """Branches taken in turn, a tied weight listed twice, small tensors, momentum, a changing scale, a group of one's own."""
    for result in two:
        assert result["conserved"][scene] < 1e-4


@pytest.mark.parametrize("tables", ["whole", "bucket"])
def test_an_infinite_gradient_is_a_step_that_all_ranks_skip(two: list[dict[str, Any]], tables: str) -> None:
    """Two such steps: every parameter's gradient tells the scaler, nothing changes, the scale is halved, and the loss goes on falling."""
    for result in two:
        found = result["infinite"][tables]
        assert found["grads"] == [True, True]
        assert found["changed"] == [[], []]
        assert found["scale"] == 2.0**7
        assert found["skipped"] == 2
        assert sum(found["losses"][-5:]) < sum(found["losses"][:5])
    assert torch.equal(two[0]["infinite"][tables]["weights"], two[1]["infinite"][tables]["weights"])


def test_sparse_gradients_and_a_foreign_group_get_one_sentence(two: list[dict[str, Any]]) -> None:
    for rank, result in enumerate(two):
        assert "a parameter has sparse gradients, as Embedding(sparse=True) gives" in result["sparse"]
        assert f"process_group holds ranks [0, 1] and DistributedDataParallel's [{rank}]" in result["other group"]


@pytest.mark.parametrize("tables", ["whole", "bucket"])
@pytest.mark.parametrize("cap_mb", [25, SMALL_BUCKETS_MB])
def test_a_resumed_run_goes_on_as_if_nothing_had_happened(two: list[dict[str, Any]], cap_mb: float, tables: str) -> None:
    """To the bit, though DDP begins with other buckets than it had."""
    for result in two:
        found = result["resumed"][f"{cap_mb} {tables}"]
        assert torch.equal(found["whole"]["weights"], found["rest"]["weights"])
        assert found["rest"]["state"]["step"] == 12
        assert found["rest"]["buckets"][0] == 1


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
    assert int(words[2]) == 2 * 4 * 5205 + 198 * 4 * (5 * cols + 4 * k) + 200 * 4 * 4


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
