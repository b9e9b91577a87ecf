"""How fast the cluster is simulated: messages per second, and that the price of a collective grows with its messages alone.

    OMP_NUM_THREADS=1 python benchmarks/cluster.py        # half a minute

Exit status 1 if a ring all-reduce of 512 workers takes 10 s of the clock or more, or an ideally priced one of 10,000 does. Other work on
the machine only ever adds.

No single place limits it: a message of the ring costs some 70 calls of Python (one event for itself, half an event for adding, two
resumed generators, a ledger row), about 13 us; where many share a link, each change costs as much as there are flows.
"""

from __future__ import annotations

import gc
import sys
import time
from typing import NamedTuple

from toolkit.cluster.fabric import Cluster
from toolkit.collectives import AllReduce
from toolkit.core.context import Asking, Context
from toolkit.core.program import Program
from toolkit.core.size_only import SizeOnlyPayload
from toolkit.core.world import World

LIMIT_S = 10.0


class Timing(NamedTuple):
    """What one run took, and how much it did."""

    wall_s: float
    cpu_s: float
    messages: int
    simulated_s: float


class OneAllReduce(Program):
    """One all-reduce of so many values."""

    values: int

    def run(self, ctx: Context) -> Asking:
        yield from ctx.all_reduce(SizeOnlyPayload(self.values))


class Incast(Program):
    """Everybody sends to the first at once, each a little more than the one before, so that every end changes all rates."""

    def run(self, ctx: Context) -> Asking:
        if ctx.rank:
            yield ctx.send(0, 1_000_000 + 1000 * ctx.rank)


def timed(spec: Cluster, program: Program) -> Timing:
    """Run *program* once."""
    world = World(1, float("inf"))
    network = spec.build(world)
    begun_s, begun_cpu_s = time.perf_counter(), time.process_time()
    world.env.run(until=network.launch(program))
    wall_s, cpu_s = time.perf_counter() - begun_s, time.process_time() - begun_cpu_s
    rows = world.ledger.pending()
    return Timing(wall_s, cpu_s, int((rows["kind"] == "tx").sum()), world.now)


def shown(case: str, spec: dict[str, object], program: Program, limit_s: float = float("inf")) -> bool:
    """Print one line; return whether the run stayed below the limit."""
    took = timed(Cluster.model_validate(spec), program)
    each_us = 1e6 * took.cpu_s / max(1, took.messages)
    print(
        f"{case:<34}{took.messages:>10}{took.wall_s:>10.2f}{took.cpu_s:>10.2f}{each_us:>10.1f}{took.messages / took.cpu_s:>12.0f}"
        f"{took.simulated_s:>15.4g}", flush=True,
    )
    return took.wall_s < limit_s


def main() -> int:
    gc.set_threshold(200_000, 50, 1000)  # as `toolkit.sweep` does while a run lasts
    print(f"{'case':<34}{'messages':>10}{'wall (s)':>10}{'CPU (s)':>10}{'us each':>10}{'messages/s':>12}{'simulated (s)':>15}")
    fast = True
    for name in AllReduce.member_names():
        for size in (64, 128, 256, 512) if name == "ring" else (64, 512):
            spec = {"workers": size, "servers": int(name == "parameter_server"), "collectives": {"all_reduce": name}}
            limit_s = LIMIT_S if (name, size) == ("ring", 512) else float("inf")
            fast &= shown(f"{name}, P = {size}", spec, OneAllReduce(values=512_000), limit_s)
    fast &= shown("ring, P = 10000, ideal pricing", {"workers": 10_000, "pricing": "ideal"}, OneAllReduce(values=512_000), LIMIT_S)
    shown("incast of 255, all shares change", {"workers": 256}, Incast())
    return int(not fast)


if __name__ == "__main__":
    sys.exit(main())
