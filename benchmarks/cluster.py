"""How fast the cluster is simulated: messages per second, and that the price of a collective grows with its messages alone.

    OMP_NUM_THREADS=1 python benchmarks/cluster.py        # half a minute

Exit status 1 if a ring all-reduce of 512 workers takes 10 s or more, or an ideally priced one of 10,000 does.
"""

from __future__ import annotations

import gc
import sys
import time

from toolkit.cluster.fabric import Cluster
from toolkit.collectives import AllReduce
from toolkit.core.context import Asking, Context
from toolkit.core.phantom import Phantom
from toolkit.core.program import Program
from toolkit.core.world import World

LIMIT_S = 10.0


class OneAllReduce(Program):
    """One all-reduce of so many values."""

    values: int

    def run(self, ctx: Context) -> Asking:
        yield from ctx.all_reduce(Phantom(self.values))


class Incast(Program):
    """Everybody sends to the first at once, each a little more than the one before, so that every end changes all rates."""

    def run(self, ctx: Context) -> Asking:
        if ctx.rank:
            yield ctx.send(0, 1_000_000 + 1000 * ctx.rank)


def timed(spec: Cluster, program: Program) -> tuple[float, int, float]:
    """Return CPU seconds, ledger rows of messages, and simulated seconds of one run."""
    world = World(1, float("inf"))
    network = spec.build(world)
    begun_s = time.process_time()
    done = network.launch(program)
    world.env.run(until=done)
    took_s = time.process_time() - begun_s
    rows = world.ledger.pending()
    return took_s, int((rows["kind"] == "tx").sum()), world.now


def main() -> int:
    gc.set_threshold(200_000, 50, 1000)  # as `toolkit.sweep` does while a run lasts
    print(f"{'case':<34}{'messages':>10}{'CPU (s)':>10}{'us each':>10}{'messages/s':>12}{'simulated (s)':>15}")
    slow = False
    for name in AllReduce.member_names():
        for size in (64, 128, 256, 512) if name == "ring" else (64, 512):
            spec = Cluster.model_validate({
                "workers": size, "servers": int(name == "parameter_server"), "collectives": {"all_reduce": name},
            })
            took_s, messages, now_s = timed(spec, OneAllReduce(values=512_000))
            _show(f"{name}, P = {size}", took_s, messages, now_s)
            slow |= name == "ring" and size == 512 and took_s >= LIMIT_S
    took_s, messages, now_s = timed(Cluster.model_validate({"workers": 10_000, "pricing": "ideal"}), OneAllReduce(values=512_000))
    _show("ring, P = 10000, ideal pricing", took_s, messages, now_s)
    slow |= took_s >= LIMIT_S
    took_s, messages, now_s = timed(Cluster.model_validate({"workers": 256}), Incast())
    _show("incast of 255, all shares change", took_s, messages, now_s)
    return int(slow)


def _show(case: str, took_s: float, messages: int, now_s: float) -> None:
    each_us = 1e6 * took_s / max(1, messages)
    print(f"{case:<34}{messages:>10}{took_s:>10.2f}{each_us:>10.1f}{messages / took_s:>12.0f}{now_s:>15.4g}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
