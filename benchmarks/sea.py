"""The underwater network's speed and memory: frames decoded and handed to the protocol per CPU second, and how cost grows with the network.

    OMP_NUM_THREADS=1 python benchmarks/sea.py [--repeat 3] [--no-growth]

Every figure comes from a process of its own. CPU time is that of the simulator alone between the first fifth of the run and its end, the
least of `--repeat` runs; building the network and compiling (numba keeps the compiled kernel on disk) are not in it, and are shown.
Decodes, arrivals and frames are counted in the ledger afterwards. An arrival is counted where a modem could have locked on it; a frame
that is too weak for that costs no row, and still interferes.

"Grid" is a network as studies with ns-3 have them: modems that hear their next neighbours alone on a jittered grid of 500 m, some four
decodes per frame, Poisson floods of 54 bytes at 10 kbit/s, decoded from 8 dB SINR on, no capture; one packet in 20 s, whatever the number
of nodes. "Flooding" is denser, 22 decodes per frame: fixed places, ALOHA, packets decoded from 8 dB on, sources with Poisson traffic, every
node repeats every packet once. The area grows with the number of nodes, and so does the interval between a node's own packets: the load
around each node stays the same. "DBR" is a network as the scenarios have it: drifting nodes, weather, shadowing, Rician fading, CSMA,
BPSK's error rate, energy of every state.

Memory is required of a run without numba: to load numba and LLVM for a single function takes some 150 MB already, which is more than
the network does; the run with numba is shown beside it. Exit status 1 where a required figure is missed.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CASES: dict[str, tuple[str, int, float]] = {
    "grid, 100 nodes": ("grid", 100, 4000.0),
    "grid, 400 nodes": ("grid", 400, 1000.0),
    "flooding, 100 nodes": ("flooding", 100, 4000.0),
    "flooding, 400 nodes": ("flooding", 400, 1200.0),
    "DBR, mobility, energy, 100 nodes": ("dbr", 100, 8000.0),
}
RATES = {
    "grid, 100 nodes": (120e3, 180e3), "grid, 400 nodes": (80e3, 120e3),
    "flooding, 100 nodes": (70e3, 200e3), "flooding, 400 nodes": (70e3, 200e3), "DBR, mobility, energy, 100 nodes": (20e3, 60e3),
}
"""Decodes per CPU second: required, and aimed at."""
MEMORY_MB = (120.0, 60.0)
GROWTH = {
    "grid": ((100, 4000.0), (400, 1000.0), (1024, 400.0), (3025, 400.0), (10_000, 400.0)),
    "flooding": tuple((nodes, 400_000.0 / nodes) for nodes in (100, 200, 400, 700, 1000)),
}
"""Nodes and seconds of the networks whose cost is compared at the same density and load."""


def grid(nodes: int, duration_s: float) -> dict[str, Any]:
    """The tree of one run of the grid: 4 nodes per square km, of which the last 4 are sinks; one packet in 20 s, whatever its size."""
    dice, side = random.Random(7), math.isqrt(nodes)
    places = [
        [500.0 * (index % side + 0.6 * dice.random()), 500.0 * (index // side + 0.6 * dice.random()), 500.0 * dice.random()]
        for index in range(side * side)
    ]
    fabric = {
        "type": "acoustic", "layout": {"positions_m": places[:-4], "sink_positions_m": places[-4:], "depth_m": 600},
        "modem": {"carrier_hz": 25_000, "bandwidth_hz": 10_000, "rate_bps": 10_000, "source_level_db": 127, "detection_snr_db": 10,
                  "modulation": "threshold_sinr", "threshold_db": 8, "capture_db": 300},
        "sea": {"wind": {"type": "steady_wind", "speed_m_s": 1.0}, "noise": [{"type": "surface_noise", "shipping": 0.0}]},
        "epoch_s": 1e6, "history_s": 0, "probe": {"links": 0}, "shadowing": {"sigma_db": 0}, "mac": "aloha",
        "routing": {"type": "flooding", "jitter_s": 5, "cache_s": 600, "ttl": 255},
    }
    program = {"type": "poisson", "interval_s": 20.0 * nodes, "nbytes": 54}
    return {"name": "benchmark", "seeds": 1, "duration_s": duration_s, "fabric": fabric, "program": program}


def scenario(kind: str, nodes: int, duration_s: float) -> dict[str, Any]:
    """The tree of one run: 11 nodes per square km, 4 of them sinks."""
    if kind == "grid":
        return grid(nodes, duration_s)
    side_m = 3000.0 * math.sqrt(nodes / 100)
    fabric: dict[str, Any] = {
        "type": "acoustic", "layout": {"nodes": nodes - 4, "sinks": 4, "width_m": side_m, "length_m": side_m, "depth_m": 500},
        "modem": {"profile": "evologics_like", "source_level_db": 136}, "history_s": 1800, "probe": {"links": 0}, "routing": {"type": kind},
    }
    if kind == "flooding":
        fabric["modem"] |= {"rate_bps": 10_000, "modulation": "threshold", "threshold_db": 8, "detection_snr_db": 8}
        fabric["routing"] |= {"jitter_s": 20, "cache_s": 600}
        fabric |= {"sea": {"wind": {"type": "steady_wind"}, "tide": {"type": "still_tide"}}, "epoch_s": 1e6}
        fabric |= {"shadowing": {"sigma_db": 0}, "mobility": "static", "mac": "aloha"}
    else:
        fabric |= {"sea": {"wind": {"type": "synthetic_wind"}, "tide": {"type": "still_tide"}}, "epoch_s": 60}
        fabric |= {"shadowing": {"sigma_db": 1.5}, "fading": {"kind": "rician"}, "mobility": "anchored_drift", "mac": "csma"}
    program = {"type": "poisson", "interval_s": (30.0 if kind == "flooding" else 10.0) * nodes, "nbytes": 50}
    return {"name": "benchmark", "seeds": 1, "duration_s": duration_s, "fabric": fabric, "program": program}


def run(kind: str, nodes: int, duration_s: float, compiled: bool) -> dict[str, float]:
    """Simulate one network in this process."""
    from toolkit.acoustic.phy import kernel, medium
    from toolkit.core.world import World
    from toolkit.scenario import Scenario

    spec = Scenario.build(scenario(kind, nodes, duration_s))
    bare_mb = peak_mb()
    if compiled:
        kernel.compiled()
        run_world(World(1, 200.0), spec)  # whatever is compiled is compiled now
    else:
        medium.COMPILE_AFTER = medium.LOAD_AFTER = sys.maxsize
    imports_mb = peak_mb()
    gc.set_threshold(200_000, 50, 1000)  # as a run of `toolkit.simulate` has it
    setup_s = -time.process_time()
    world = World(1, duration_s)
    network = spec.fabric.build(world)
    network.launch(spec.program)
    setup_s += time.process_time()
    world.env.run(until=0.2 * duration_s)
    begin_s = time.process_time()
    world.env.run(until=duration_s)
    cpu_s = time.process_time() - begin_s
    memory_mb = peak_mb()
    network.finish()
    rows = world.ledger.charges()
    rows = rows[rows.t0_s + rows.dur_s > 0.2 * duration_s]
    heard = rows[rows.kind == "rx"]
    return {
        "nodes": nodes, "cpu_s": cpu_s, "setup_s": setup_s, "frames": int((rows.kind == "tx").sum()), "arrivals": len(heard),
        "decodes": int((heard.outcome == "delivered").sum()), "memory_mb": memory_mb, "imports_mb": imports_mb, "bare_mb": bare_mb,
    }


def run_world(world: Any, spec: Any) -> None:
    network = spec.fabric.build(world)
    network.launch(spec.program)
    world.env.run(until=world.duration_s)


def peak_mb() -> float:
    """Most memory that this process had resident so far."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def measure(kind: str, nodes: int, duration_s: float, *, compiled: bool = True, repeat: int = 1) -> dict[str, float]:
    """Run in fresh processes; return the run that took the least CPU time."""
    command = [sys.executable, __file__, "--one", kind, str(nodes), str(duration_s), str(int(compiled))]
    runs = []
    for _ in range(repeat):
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        runs.append(json.loads(output.splitlines()[-1]))
    return min(runs, key=lambda result: result["cpu_s"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3, help="runs of each case, of which the fastest counts")
    parser.add_argument("--no-growth", action="store_true", help="leave out the tables over 100 to 10,000 nodes")
    parser.add_argument("--one", nargs=4, metavar=("KIND", "NODES", "SECONDS", "COMPILED"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        kind, nodes, duration_s, compiled = arguments.one
        print(json.dumps(run(kind, int(nodes), float(duration_s), compiled == "1")))
        return 0
    missed = False
    print(row("decodes per CPU second", "decodes", "arrivals", "frames", "CPU s", "set-up s", "per CPU s", "required", "aim"))
    large: dict[str, float] = {}
    for name, case in CASES.items():
        result = measure(*case, repeat=arguments.repeat)
        rate, (required, aim) = result["decodes"] / result["cpu_s"], RATES[name]
        missed |= rate < required
        counts = [f"{result[what]:.0f}" for what in ("decodes", "arrivals", "frames")]
        times = [f"{result[what]:.2f}" for what in ("cpu_s", "setup_s")]
        rates = [f"{value:.0f}" for value in (rate, required, aim)]
        print(row(name, *counts, *times, *rates, verdict(rate >= required, rate >= aim)), flush=True)
        large = result if case[1] == 400 else large
    small = measure("flooding", 400, 100.0, compiled=False)
    print("\n" + row("peak memory in MB, 400 nodes", "imports", "network", "together", "required", "aim"))
    for name, result in (("with numba", large), ("without numba", small)):
        imports, peak = result["imports_mb"], result["memory_mb"]
        cells = [f"{mb:.0f}" for mb in (imports, peak - imports, peak)]
        if result is small:
            required, aim = MEMORY_MB
            missed |= peak > required
            cells += [f"{required:.0f}", f"{aim:.0f}", verdict(peak <= required, peak <= aim)]
        print(row(name, *cells))
    if not arguments.no_growth:
        for kind, sizes in GROWTH.items():
            heads = ("decodes", "arrivals", "frames", "CPU s", "us/decode", "us/arrival", "set-up s", "MB")
            print("\n" + row(f"growth at constant density, {kind}", *heads))
            for nodes, duration_s in sizes:
                result = measure(kind, nodes, duration_s, repeat=arguments.repeat)
                counts = [f"{result[what]:.0f}" for what in ("decodes", "arrivals", "frames")]
                costs = [f"{1e6 * result['cpu_s'] / result[what]:.2f}" for what in ("decodes", "arrivals")]
                rest = [f"{result['setup_s']:.2f}", f"{result['memory_mb']:.0f}"]
                print(row(str(nodes), *counts, f"{result['cpu_s']:.2f}", *costs, *rest), flush=True)
    return int(missed)


def row(name: str, *cells: str) -> str:
    return f"{name:36}" + "".join(f"{cell:>11}" for cell in cells)


def verdict(required: bool, aimed: bool) -> str:
    return "aim met" if required and aimed else "met" if required else "MISSED"


if __name__ == "__main__":
    raise SystemExit(main())
