"""The DDP hook against torch's own asynchronous hook and no hook: step, backward pass and CPU time, alternately in one run.

Two processes on this machine: ``python benchmarks/ddp.py``. Over links that are held to a rate, start one process per network namespace
with RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT and GLOO_SOCKET_IFNAME set; rank 0 prints.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import time
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from toolkit.learning.ddp import GsSgdHook

BUCKET_MB = 1.0


def network() -> nn.Module:
    """2.6 million weights in ten layers."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(10):
        layers += [nn.Linear(512, 512), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(512, 10))


def contenders() -> dict[str, dict[str, Any] | None]:
    hooks: dict[str, dict[str, Any] | None] = {"no hook": None, "asynchronous hook": {}}
    for density in (0.001, 0.01):
        for tables in ("whole", "bucket"):
            hooks[f"gs-SGD {tables} {density}"] = {"density": density, "tables": tables}
    return hooks


def wrapped(settings: dict[str, Any] | None) -> DistributedDataParallel:
    ddp = DistributedDataParallel(network(), bucket_cap_mb=BUCKET_MB)
    if settings:
        ddp.register_comm_hook(GsSgdHook(ddp.module.parameters(), **settings), GsSgdHook.hook)
    elif settings is not None:
        ddp.register_comm_hook(None, allreduce_hook)
    return ddp


def measure(rank: int, steps: int, batch: int) -> None:
    """Take turns, a step each; print medians."""
    torch.set_num_threads(1)
    models = {name: wrapped(settings) for name, settings in contenders().items()}
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in models}
    inputs = torch.randn(batch, 512, generator=torch.Generator().manual_seed(rank))
    labels = torch.randint(0, 10, (batch,), generator=torch.Generator().manual_seed(rank))
    for step in range(steps + 4):
        for name, ddp in models.items():
            ddp.zero_grad()
            loss = nn.functional.cross_entropy(ddp(inputs), labels)
            dist.barrier()
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            loss.backward()
            wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
            if step >= 4:
                took[name].append((wall_s, cpu_s))
    if rank:
        return
    reference = statistics.median(wall_s for wall_s, _ in took["asynchronous hook"])
    print(f"backward pass of {sum(p.numel() for p in network().parameters())} weights, {dist.get_world_size()} processes, batch {batch}")
    for name, both in took.items():
        wall_s, cpu_s = (statistics.median(values) for values in zip(*both, strict=True))
        print(f"{name:22} {1000 * wall_s:7.1f} ms wall ({wall_s / reference:.2f} of the asynchronous hook)  {1000 * cpu_s:7.1f} ms CPU")


def enter(rank: int, ranks: int, port: int, steps: int, batch: int) -> None:
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(ranks), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
    dist.init_process_group("gloo")
    measure(rank, steps, batch)
    dist.destroy_process_group()


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--steps", type=int, default=20)
    cli.add_argument("--batch", type=int, default=64)
    args = cli.parse_args()
    if "RANK" in os.environ:
        dist.init_process_group("gloo")
        measure(dist.get_rank(), args.steps, args.batch)
        dist.destroy_process_group()
        return
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    torch.multiprocessing.spawn(enter, (2, port, args.steps, args.batch), nprocs=2)


if __name__ == "__main__":
    main()
