"""What a message costs the machines at its ends, beside the wire: two processes here send each other one at a time.

Once with nothing else to do, and once after a gradient each, as training does: threads that slept are then woken, and what they need has
left the caches.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from toolkit.errors import ToolkitError

PROCESSES = 2
BLOCK = 50
"""Exchanges between two looks at the clock."""
VALUES = 256
"""In a message: few enough for the wire to take next to nothing of the time."""
TIMEOUT_S = 120.0


class Handling(NamedTuple):
    """What `toolkit.core.device.Device` calls by the same names."""

    message_overhead_s: float
    """What one end spends on one message: half of sending one and receiving one."""
    message_wake_s: float
    """What sending one and receiving one take longer after a gradient."""


def message_handling(rounds: int) -> Handling:
    """Return what messages take, the least of *rounds*. The two processes need a core each.

    Raises:
        ToolkitError: they could not be run, or not in time.
    """
    environment = {"GLOO_SOCKET_IFNAME": "lo", **os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", __name__, str(Path(folder) / "meet"), str(rounds)]
        running = [
            subprocess.Popen([*command, str(rank)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for rank in range(PROCESSES)
        ]
        try:
            said = [process.communicate(timeout=TIMEOUT_S) for process in running]
        except subprocess.TimeoutExpired as error:
            raise ToolkitError(f"two processes that exchange messages did not come to their end in {TIMEOUT_S:.0f} s") from error
        finally:
            for process in running:
                process.kill()
    if any(process.returncode for process in running):
        last = next((lines[-1] for _, errors in said if (lines := errors.strip().splitlines())), "no word")
        raise ToolkitError(f"two processes could not exchange messages ({last})")
    return Handling(*map(float, said[0][0].split()))


def handling_in_group(rounds: int) -> Handling:
    """Return what messages take between the two processes of the group that this one is in, over its own link; both call it."""
    import torch
    import torch.distributed as dist

    from toolkit.calibration.probes import BETWEEN
    from toolkit.cluster.distributed import Checkpoints, DistributedContext
    from toolkit.collectives import Collectives
    from toolkit.core.context import Asking

    rank = dist.get_rank()
    ctx = DistributedContext(PROCESSES, 0, 1, Collectives(), Checkpoints(Path("unused"), rank, PROCESSES, resume=False))
    vector, gradient = torch.zeros(VALUES), BETWEEN.gradient()

    def work(compute: bool, exchange: bool) -> Asking:
        for _ in range(BLOCK):
            if compute:
                gradient()
            if exchange:
                coming = ctx.recv(1 - rank, vector)
                ctx.send(1 - rank, vector.nbytes, payload=vector)
                yield coming

    def least_s(compute: bool, exchange: bool) -> float:
        """Of one turn."""
        found = []
        for _ in range(1 + rounds):
            dist.barrier()
            begun_s = perf_counter()
            ctx.run(work(compute, exchange))
            found.append(perf_counter() - begun_s)
        return min(found[1:]) / BLOCK

    apart_s = least_s(False, True)
    together_s = least_s(True, True) - least_s(True, False)
    return Handling(apart_s / 2, max(0.0, together_s - apart_s))


def main(arguments: Any = None) -> None:
    """Be one of the two processes: where they meet, rounds, rank."""
    import torch
    import torch.distributed as dist

    place, rounds, rank = arguments or sys.argv[1:]
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{place}", rank=int(rank), world_size=PROCESSES, timeout=timedelta(seconds=TIMEOUT_S)
    )
    found = handling_in_group(int(rounds))
    dist.barrier()
    dist.destroy_process_group()
    if int(rank) == 0:
        sys.stdout.write(" ".join(map(repr, found)) + "\n")


if __name__ == "__main__":
    main()
