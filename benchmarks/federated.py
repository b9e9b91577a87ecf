"""Federations at scale and against real processes.

python benchmarks/federated.py many: 131,072 clients by price (scenarios/many_clients.yaml, arm by arm): wall time, clients a second, peak
memory. python benchmarks/federated.py real: a server and two clients as processes over gloo on this machine, seconds of a round as measured
against those of the simulator, which is told how long a step and a message take here when nothing else goes on.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from toolkit.calibration.messages import message_handling
from toolkit.core import yaml12
from toolkit.core.local import LocalContext, LocalGroup
from toolkit.core.world import World
from toolkit.methods.federated.local import Local
from toolkit.scenario import Scenario

SCENARIOS = Path(__file__).parents[1] / "scenarios"
CLIENTS, FEW, MANY = 2, 20, 80
BALL_BYTES = 1_000_000


def priced(spec: Scenario, seed: int = 1) -> World:
    world = World(seed, float("inf"))
    network: Any = spec.fabric.build(world)
    world.env.run(until=network.launch(spec.program))
    network.finish()
    return world


def observed(world: World, name: str) -> float:
    metrics = world.ledger.metrics()
    return float(metrics[metrics["name"] == name]["value"].iloc[-1])


def one_arm(name: str) -> None:
    """Price one arm in this process."""
    begun_s = time.perf_counter()
    arm = Scenario.load(SCENARIOS / "many_clients.yaml").arms()[name]
    arm.check()
    checked_s = time.perf_counter()
    world = priced(arm)
    fabric: Any = arm.fabric
    took_s, cpu_s, peak = time.perf_counter() - begun_s, time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    sent_out = observed(world, "sent_out")
    print(
        f"{name:9} {fabric.workers} clients, {sent_out:.0f} errands, {observed(world, 'trained_s'):.1f} simulated s: {took_s:.1f} s in "
        f"all, {checked_s - begun_s:.1f} s of it loading and checking; {cpu_s:.1f} CPU-s; {fabric.workers / cpu_s:.0f} clients, "
        f"{sent_out / cpu_s:.0f} errands a CPU-s; {peak / 1e9:.2f} GB", flush=True,
    )


def many() -> None:
    for name in Scenario.load(SCENARIOS / "many_clients.yaml").compare:
        subprocess.run([sys.executable, __file__, "arm", name], check=True)


def federation(rounds: int, device: dict[str, Any], link: dict[str, Any]) -> Scenario:
    return Scenario.build({
        "name": "real", "fabric": {"type": "cluster", "workers": CLIENTS, "servers": 1, "device": device,
                                   "topology": {"type": "star", "link": link}},
        "program": {
            "type": "fedavg", "task": {"dataset": "digits", "model": {"name": "mlp", "options": {"hidden": [300, 100]}}},
            "rounds": rounds, "sampled": CLIENTS, "epochs": 2, "batch": 16, "evaluate_every": 10**6,
        },
    })


def bounce(rank: int, place: str, answer: Any) -> None:
    """Play a message of `BALL_BYTES` to and fro, and tell half of what a round trip takes, the least of many."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{place}", rank=rank, world_size=2, timeout=timedelta(seconds=60))
    ball, took_s = torch.zeros(BALL_BYTES // 4), []
    for _ in range(200):
        begun_s = time.perf_counter()
        if rank:
            dist.recv(ball, 0)
            dist.send(ball, 0)
        else:
            dist.send(ball, 1)
            dist.recv(ball, 1)
        took_s.append(time.perf_counter() - begun_s)
    if not rank:
        answer.put(min(took_s) / 2)
    dist.destroy_process_group()


def measured_link() -> dict[str, Any]:
    """The loopback, whose latency is that of the messages' ends."""
    context = multiprocessing.get_context("spawn")
    answer = context.SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        players = [context.Process(target=bounce, args=(rank, f"{folder}/meet", answer)) for rank in range(2)]
        for player in players:
            player.start()
        for player in players:
            player.join()
    return {"rate_bps": 8 * BALL_BYTES / answer.get(), "delay_s": 0.0, "idle_w": 0.0}


def measured_step_s() -> float:
    """Median time of a client's step in this process, of ten visits."""
    torch.set_num_threads(1)
    spec: Any = federation(1, {}, {})
    ctx = LocalContext(LocalGroup(), 0, CLIENTS, 1, servers=1)
    local = Local(spec.program, ctx)
    steps, took_s = int(local.steps[0]), []
    for visit in range(11):
        begun_s = time.perf_counter()
        local.train(ctx, local.initial, 0, visit, steps)
        took_s.append((time.perf_counter() - begun_s) / steps)
    return statistics.median(took_s[1:])


def trained_s(spec: Scenario) -> float:
    """Wall time of *spec* in real processes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "real.yaml"
        path.write_text(yaml12.dump(spec.dump()), encoding="utf-8")
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={CLIENTS + 1}"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        subprocess.run(
            [*launcher, "-m", "toolkit.train", str(path), "--out", folder], check=True, stdout=subprocess.DEVNULL, env=environment
        )
        return float(json.loads((Path(folder) / "train.json").read_text())[0]["wall_s"])


def real(times: int) -> None:
    for _ in range(times):
        step_s, link = measured_step_s(), measured_link()
        handling = message_handling(40)
        device = {"profile": "desktop_cpu", "measured_s": {"gradient": step_s}, **handling._asdict()}
        few, more = (federation(rounds, device, link) for rounds in (FEW, MANY))
        said_s = (observed(priced(more), "trained_s") - observed(priced(few), "trained_s")) / (MANY - FEW)
        took_s = (trained_s(more) - trained_s(few)) / (MANY - FEW)
        print(
            f"a step {step_s * 1e3:.3f} ms, a link {link['rate_bps'] / 1e9:.2f} Gbit/s, "
            f"{handling[0] * 1e6:.0f} us a message and end, {handling[1] * 1e6:.0f} us to wake: a round of "
            f"{CLIENTS} clients said {said_s * 1e3:.2f} ms, measured {took_s * 1e3:.2f} ms, said / measured {said_s / took_s:.2f}",
            flush=True,
        )


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("what", choices=("many", "real", "arm"))
    cli.add_argument("name", nargs="?", default="")
    cli.add_argument("--times", type=int, default=3, help="how often real processes are held against the simulator")
    args = cli.parse_args()
    if args.what == "arm":
        one_arm(args.name)
    elif args.what == "many":
        many()
    else:
        real(args.times)


if __name__ == "__main__":
    main()
