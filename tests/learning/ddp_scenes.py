"""Trainings by DDP with and without its hook, in real gloo processes. A deadlock ends in a failure, not in a test that hangs."""

from __future__ import annotations

import io
import os
import socket
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from toolkit.core.streams import Streams
from toolkit.learning.ddp import GsSgdHook

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
    for name, momentum, more, how, both in (
        ("plain", 0.0, {}, {}, ("whole",)),
        ("momentum", 0.6, {}, {}, ("whole", "bucket")),
        ("small", 0.6, {"dense_below": 100}, {}, ("whole",)),
        ("view", 0.0, {}, {"as_view": True}, ("bucket",)),
        ("zeros kept", 0.6, {}, {"to_none": False}, ("whole", "bucket")),
        ("scaled", 0.6, {"dense_below": 100}, {"scaled": True}, ("whole", "bucket")),
        ("group", 0.6, {}, {"alone": True}, ("bucket",)),
    )
    for tables in both
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
