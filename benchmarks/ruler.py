"""How true the ruler is: what the toolkit says against what this machine and held links do, ratios and misses in one run.

    OMP_NUM_THREADS=1 python benchmarks/ruler.py            # some five minutes; links need the right to make namespaces
    OMP_NUM_THREADS=1 python benchmarks/ruler.py --only gradients

Gradients of networks that nothing was fitted to, in CPU time, by two calibrations; all-reduces of four processes and whole trainings of as
many as there are cores, over links held to 200 Mbit/s (network namespaces on a bridge, `tc tbf`), in wall time, the best of `--repeats`,
these processes first in the queue of the cores (`nice`); a replay memory on this disk. Exit status 1 if
anything misses its bar; nothing is left out for missing it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional

from toolkit.calibrate import own_probes
from toolkit.calibration.machine import Calibration, calibrate, machine_name, sizes
from toolkit.calibration.messages import handling_in_group
from toolkit.calibration.probes import HELD
from toolkit.calibration.storage import BATCH, RECORD_BYTES, storage_rates
from toolkit.calibration.timing import times_of
from toolkit.cluster.distributed import DistributedContext
from toolkit.cluster.fabric import Cluster
from toolkit.collectives import Collectives
from toolkit.core.device import Device
from toolkit.core.program import Program
from toolkit.core.size_only import SizeOnlyPayload
from toolkit.core.world import World
from toolkit.learning.work import count
from toolkit.methods.distributed.program import DistributedSgd

RATE_BPS = 200e6
BURST_BYTES = 32 * 1024
"""What a link that was idle lets through at once. Messages that are smaller may pass unheld; with a few frames instead, splitting what is
sent in larger pieces takes more of these cores than a network card would.
"""
FRAME = 1448 / 1514
"""Of what `tc tbf` counts, a frame from its header on, the share that is a message's."""
SIZES = (10_000, 1_000_000, 10_000_000)
ROUNDS = 10
STEPS = 50
BATCH_OF_RUN = 16
METHODS: dict[str, Any] = {
    "dense": "dense", "gs-SGD": {"type": "gs_sgd", "density": 0.005}, "Top-k": {"type": "top_k", "density": 0.005}, "signSGD": "signsgd",
}
WIDE = {"name": "mlp", "options": {"hidden": [1024, 1024], "image_size": 8}}
"""1.1 M weights: 4.5 MB in five buckets of 1 MB."""
BUCKET_BYTES = 2**20
MISSES: list[str] = []
TOLD: list[dict[str, Any]] = []
"""Every ratio, for `--csv`."""


def told(what: str, said: float, measured: float, bar: float, unit: str = "ms") -> float:
    """Print one line, note a miss, return the ratio."""
    ratio = said / measured
    off = max(ratio, 1 / ratio)
    missed = off > bar
    if missed:
        MISSES.append(f"{what}: {ratio:.2f}")
    scale = {"ms": 1e3, "s": 1.0}[unit]
    TOLD.append({"kind": KIND[-1], "what": what, "unit": "s", "said": said, "measured": measured, "ratio": ratio, "bar": bar})
    print(f"  {what:<44}{scale * said:>11.3f}{scale * measured:>11.3f}{ratio:>8.2f}  {'MISSED' if missed else ''} (bar {bar})", flush=True)
    return ratio


KIND = [""]


def heading(title: str, kind: str) -> None:
    """Begin a table whose ratios are of a *kind*."""
    KIND.append(kind)
    print(f"\n{title}\n  {'':<44}{'said':>11}{'measured':>11}{'ratio':>8}")


# Gradients


def device_of(found: Calibration) -> Device:
    return Device(**{**found.fields, **sizes()})


def gradients(rounds: int) -> Device:
    """Calibrate twice, and hold both against the first one's times; return the device of the first."""
    first, second = (calibrate(others=HELD, rounds=rounds) for _ in range(2))
    devices = [device_of(found) for found in (first, second)]
    heading(f"gradients of networks not fitted to (ms of CPU time; wall time {first.times.waited:.1f} times CPU time)", "gradient")
    ratios = [told(probe.name, devices[0].duration_s(probe.work()), first.times.seconds[probe.name], 2.0) for probe in HELD]
    median = statistics.median(max(ratio, 1 / ratio) for ratio in ratios)
    print(f"  median {median:.2f} (bar 1.25) {'MISSED' if median > 1.25 else ''}")
    if median > 1.25:
        MISSES.append(f"median of gradients: {median:.2f}")
    heading("the same, said by a second calibration, against the first one's words", "second calibration")
    for probe in HELD:
        told(probe.name, devices[1].duration_s(probe.work()), devices[0].duration_s(probe.work()), 1.1)
    own = own_probes(["resnet20"], "3x32x32", 32)
    third = calibrate(own, rounds=max(3, rounds // 2))
    heading("one's own network after --model (ms of CPU time)", "own gradient")
    for probe in own:
        told(probe.name, device_of(third).duration_s(probe.work()), third.times.seconds[probe.name], 1.15)
    inferences(devices[0], rounds)
    return devices[0]


def inferences(device: Device, rounds: int) -> None:
    """The same networks in use, which no constant was fitted to."""
    calls: dict[str, Callable[[], None]] = {}
    for probe in HELD:
        model, images = probe.build().eval(), torch.zeros(probe.shape)

        def use(model: nn.Module = model, images: torch.Tensor = images) -> None:
            with torch.inference_mode():
                model(images)

        calls[probe.name] = use
    measured = times_of(calls, rounds).seconds
    heading("inferences, from constants of training (ms of CPU time)", "inference")
    for probe in HELD:
        work = count(probe.build(), probe.shape, training=False).work.beyond_first()
        told(probe.name, device.duration_s(work), measured[probe.name], 2.0)


# Held links: this file again, in namespaces


def on_held_links(processes: int, task: str, **settings: Any) -> Any:
    """Run *task* on so many processes whose links are held, and return what rank 0 says."""
    script = f"""
set -e
mount -t tmpfs none /run; mkdir -p /run/netns; ip link set lo up
ip link add switch type bridge; ip link set switch up
for rank in $(seq 0 {processes - 1}); do
  ip netns add host$rank
  ip link add port$rank type veth peer name net0 netns host$rank
  ip link set port$rank master switch up
  ip -n host$rank addr add 10.77.0.$((rank + 1))/24 dev net0
  ip -n host$rank link set net0 up; ip -n host$rank link set lo up
  tc qdisc add dev port$rank root tbf rate {RATE_BPS:.0f}bit burst {BURST_BYTES}b latency 5ms
  ip netns exec host$rank tc qdisc add dev net0 root tbf rate {RATE_BPS:.0f}bit burst {BURST_BYTES}b latency 5ms
done
for rank in $(seq 0 {processes - 1}); do
  RANK=$rank WORLD_SIZE={processes} MASTER_ADDR=10.77.0.1 MASTER_PORT=29611 GLOO_SOCKET_IFNAME=net0 \\
    nice -n -19 ip netns exec host$rank "$@" &
done
wait
"""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        command = [sys.executable, __file__, "--rank-task", json.dumps({"task": task, "answer": str(answer), **settings})]
        subprocess.run(["unshare", "-nm", "bash", "-c", script, "held", *command], check=True, capture_output=True, timeout=600)
        return json.loads(answer.read_text())


def links_can_be_held() -> bool:
    """Whether namespaces with held links can be made here."""
    probe = f"ip link add probe type bridge && tc qdisc add dev lo root tbf rate 1mbit burst {BURST_BYTES}b latency 5ms"
    try:
        return subprocess.run(["unshare", "-nm", "bash", "-c", probe], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def rank_main(settings: dict[str, Any]) -> None:
    """What each process does."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    found = {"all_reduce": rank_all_reduce, "train": rank_train, "ddp": rank_ddp, "messages": rank_messages}[settings["task"]](settings)
    if dist.get_rank() == 0:
        Path(settings["answer"]).write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()


def context(collectives: dict[str, str]) -> DistributedContext:
    return DistributedContext(dist.get_world_size(), 0, 1, Collectives.model_validate(collectives), NO_CHECKPOINTS)


class NoCheckpoints:
    """Keeps nothing."""

    def keep(self, *_: Any, **__: Any) -> None:
        pass

    def load(self) -> None:
        return None


NO_CHECKPOINTS: Any = NoCheckpoints()


def best(call: Callable[[], None], repeats: int) -> float:
    """Return the least wall time of *call*, all ranks together."""
    times = []
    for _ in range(repeats):
        dist.barrier()
        begun_s = time.perf_counter()
        call()
        taken = torch.tensor([time.perf_counter() - begun_s])
        dist.all_reduce(taken, op=dist.ReduceOp.MAX)
        times.append(float(taken))
    return min(times)


def rank_all_reduce(settings: dict[str, Any]) -> dict[str, Any]:
    """Times of rings of sizes, of gloo's own all-reduce, and of a message of one number."""
    ctx = context({"all_reduce": "ring"})
    rank, repeats = dist.get_rank(), settings["repeats"]
    one = torch.zeros(1)

    def there_and_back() -> None:
        for _ in range(20):
            if rank == 0:
                dist.send(one, 1)
                dist.recv(one, 1)
            elif rank == 1:
                dist.recv(one, 0)
                dist.send(one, 0)

    found: dict[str, Any] = {"message_s": best(there_and_back, repeats) / 40, "ring": {}, "gloo": {}}
    for nbytes in settings["sizes"]:
        vector = torch.zeros(nbytes // 4)
        found["ring"][str(nbytes)] = best(lambda vector=vector: ctx.run(ctx.all_reduce(vector)), repeats)
        found["gloo"][str(nbytes)] = best(lambda vector=vector: dist.all_reduce(vector), repeats)
    return found


def rank_messages(settings: dict[str, Any]) -> dict[str, float]:
    """What a message of 1 kB takes at each end, and to wake."""
    return handling_in_group(settings["rounds"])._asdict()


def rank_train(settings: dict[str, Any]) -> dict[str, float]:
    """The time in s of the steps of each method but the first, the least of some runs."""
    found = {}
    for name, method in settings["methods"].items():
        times = []
        for _ in range(settings["repeats"]):
            ctx = context({"all_reduce": "ring"})
            program = training(method, learn=True)
            dist.barrier()
            ctx.run(program.run(ctx))
            at = torch.tensor([metric.t_s for metric in ctx.metrics if metric.name == "train_loss"] or [0.0, 0.0], dtype=torch.float64)
            times.append(float(at[-1] - at[0]) / (STEPS - 1))
        found[name] = min(times)
    return found


def rank_ddp(settings: dict[str, Any]) -> dict[str, float]:
    """The time in s of a step of torch's DistributedDataParallel with plain SGD with momentum on the wide network."""
    task: Any = wide(overlap=True).task.load()
    found = {}
    for name, cap_mb in (("buckets of 1 MiB", 1.0), ("one bucket", 1e3)):
        model = task.build(torch.Generator().manual_seed(0))
        trained = nn.parallel.DistributedDataParallel(model, bucket_cap_mb=cap_mb)
        optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        images = torch.randn(task.batch_shape(settings["batch"]))
        labels = torch.zeros(settings["batch"], dtype=torch.int64)

        def step(trained: Any = trained, optimiser: Any = optimiser, images: Any = images, labels: Any = labels) -> None:
            optimiser.zero_grad()
            functional.cross_entropy(trained(images), labels).backward()
            optimiser.step()

        for _ in range(3):
            step()
        found[name] = best(lambda step=step: [step() for _ in range(5)], settings["repeats"]) / 5
    return found


# What is said of them


def training(method: Any, *, learn: bool, steps: int = STEPS) -> DistributedSgd:
    return DistributedSgd.model_validate({
        "task": {"dataset": "digits", "model": {"name": "small_cnn"}}, "method": method, "steps": steps, "batch": BATCH_OF_RUN, "lr": 0.01,
        "evaluate_every": 10**6, "learn": learn,
    })


def wide(*, overlap: bool, batch: int = 64, steps: int = 2) -> DistributedSgd:
    return DistributedSgd.model_validate({
        "task": {"dataset": "digits", "model": WIDE}, "method": "dense", "steps": steps, "batch": batch, "learn": False,
        "overlap": overlap, "bucket_bytes": BUCKET_BYTES, "first_bucket_bytes": BUCKET_BYTES,
    })


def fabric(device: Device, workers: int) -> Cluster:
    """What is said to stand there: the links' own latency is counted as none beside what messages take at their ends."""
    link = {"rate_bps": RATE_BPS * FRAME, "delay_s": 0.0}
    return Cluster.model_validate({
        "workers": workers, "device": device.model_dump(), "topology": {"type": "star", "link": link},
        "collectives": {"all_reduce": "ring"},
    })


def simulated(cluster: Cluster, program: Program) -> float:
    world = World(1, float("inf"))
    world.env.run(until=cluster.build(world).launch(program))
    return float(world.now)


class OneAllReduce(Program):
    """One all-reduce of so many values."""

    values: int

    def run(self, ctx: Any) -> Any:
        yield from ctx.all_reduce(SizeOnlyPayload(self.values))


def exchanges(device: Device, repeats: int) -> None:
    """All-reduces of four processes."""
    measured = on_held_links(4, "all_reduce", sizes=SIZES, repeats=repeats)
    print(f"torch alone takes {1e6 * measured['message_s']:.0f} us for a message of one number")
    heading(f"all-reduces of 4 processes at {RATE_BPS / 1e6:.0f} Mbit/s (ms)", "all-reduce")
    cluster = fabric(device, 4)
    for nbytes in SIZES:
        said = simulated(cluster, OneAllReduce(values=nbytes // 4))
        told(f"ring, {nbytes:,} bytes", said, measured["ring"][str(nbytes)], 1.15)
        print(f"  {'(gloo itself)':<44}{'':>11}{1e3 * measured['gloo'][str(nbytes)]:>11.3f}")


def trainings(device: Device, rounds: int, repeats: int) -> None:
    """Steps of four methods, said by constants that know their network (`--model small_cnn`), and of torch's own DDP."""
    processes = max(2, len(os.sched_getaffinity(0)))
    own = calibrate(own_probes(["small_cnn"], "1x8x8", BATCH_OF_RUN), rounds=rounds)
    cluster = fabric(device_of(own).model_copy(
        update={"message_overhead_s": device.message_overhead_s, "message_wake_s": device.message_wake_s}
    ), processes)
    measured = on_held_links(processes, "train", methods=METHODS, repeats=repeats)
    heading(f"a step of small_cnn in whole runs of {STEPS}, {processes} processes (ms)", "whole run")
    for name, method in METHODS.items():
        whole, first = (simulated(cluster, training(method, learn=False, steps=steps)) for steps in (STEPS, 1))
        told(name, (whole - first) / (STEPS - 1), measured[name], 1.3)
    cluster = fabric(device, processes)
    measured = on_held_links(processes, "ddp", batch=64, repeats=repeats)
    heading(f"a step of torch's DistributedDataParallel, 1.1 M weights, {processes} processes (ms)", "DDP")
    for name, overlap in (("buckets of 1 MiB", True), ("one bucket", False)):
        steps = [simulated(cluster, wide(overlap=overlap, steps=count)) for count in (1, 3)]
        told(name, (steps[1] - steps[0]) / 2, measured[name], 1.3)


# A replay memory


def replay_memory() -> None:
    """Batches read and written on this disk, against what rates found a moment before say."""
    read, write = storage_rates(Path.cwd())
    device = Device(storage_read_bytes_per_s=read, storage_write_bytes_per_s=write)
    again = storage_rates(Path.cwd())
    heading(f"a replay memory on this disk: batches of {BATCH} samples of {RECORD_BYTES} bytes (ms)", "storage")
    nbytes = BATCH * RECORD_BYTES
    told("read", device.storage_s(read_bytes=nbytes), nbytes / again[0], 1.3)
    told("written", device.storage_s(write_bytes=nbytes), nbytes / again[1], 1.3)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("gradients", "links", "storage"), help="one part")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of the calibrations")
    parser.add_argument("--repeats", type=int, default=3, help="of what is timed on links")
    parser.add_argument("--csv", type=Path, help="write every ratio there, with the machine named")
    parser.add_argument("--rank-task", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.rank_task:
        rank_main(json.loads(args.rank_task))
        return 0
    torch.set_num_threads(1)
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    print(f"{machine_name()}, {cores} cores, load {load:.1f}, torch {torch.__version__}, one thread a process")
    device = gradients(args.rounds) if args.only in (None, "gradients") else device_of(calibrate(rounds=args.rounds))
    if args.only in (None, "links"):
        if links_can_be_held():
            handling = on_held_links(2, "messages", rounds=4 * args.rounds)
            device = device.model_copy(update=handling)
            each_us, wake_us = (1e6 * value for value in handling.values())
            print(f"\na message takes {each_us:.0f} us at each end, the first after a computation {wake_us:.0f} us more")
            exchanges(device, args.repeats)
            trainings(device, args.rounds, args.repeats)
        else:
            print("\nall-reduces and trainings are left out: namespaces with held links cannot be made here (that needs root, ip and tc)")
    if args.only in (None, "storage"):
        replay_memory()
    if args.csv is not None:
        pd.DataFrame(TOLD).assign(machine=f"{machine_name()}, {cores} cores").to_csv(args.csv, index=False, float_format="%.6g")
    print(f"\nmissed: {'; '.join(MISSES) or 'nothing'}")
    return int(bool(MISSES))


if __name__ == "__main__":
    sys.exit(main())
