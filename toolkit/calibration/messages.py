"""What a message costs the machines at its ends, beside the wire: two processes here compute and send each other one, as training does.

A message between two computations takes longer than one of many in a row: threads that slept are woken, and what they touch has left the
caches.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

from toolkit.errors import ToolkitError

PROCESSES = 2
BLOCK = 50
"""Exchanges between two looks at the clock."""
SIDE, PRODUCTS = 128, 16
"""What is computed between two exchanges, some half a millisecond: so many products of square matrices."""
VALUES = 256
"""In a message: few enough for the wire to take next to nothing of the time."""
TIMEOUT_S = 120.0


def message_overhead_s(rounds: int) -> float:
    """Return the time in s that one end spends on one message: half of sending one and receiving one, beyond what is computed between.

    The least of *rounds*. The two processes need a core each.

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
    return float(said[0][0])


def _measure(place: str, rounds: int, rank: int) -> float:
    import torch
    import torch.distributed as dist

    from toolkit.cluster.distributed import Checkpoints, DistributedContext
    from toolkit.collectives import Collectives
    from toolkit.core.context import Asking

    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{place}", rank=rank, world_size=PROCESSES, timeout=timedelta(seconds=TIMEOUT_S)
    )
    nowhere = Checkpoints(Path(place).with_name("states"), rank, PROCESSES, resume=False)
    ctx = DistributedContext(PROCESSES, 0, 1, Collectives(), nowhere)
    vector, square, product = torch.zeros(VALUES), torch.ones(SIDE, SIDE), torch.empty(SIDE, SIDE)

    def work(*, exchange: bool) -> Asking:
        for _ in range(BLOCK):
            for _ in range(PRODUCTS):
                torch.mm(square, square, out=product)
            if exchange:
                coming = ctx.recv(1 - rank, vector)
                ctx.send(1 - rank, vector.nbytes, payload=vector)
                yield coming

    def block_s(*, exchange: bool) -> float:
        dist.barrier()
        begun_s = perf_counter()
        ctx.run(work(exchange=exchange))
        return perf_counter() - begun_s

    block_s(exchange=True)
    least_s = {exchange: min(block_s(exchange=exchange) for _ in range(rounds)) for exchange in (True, False)}
    dist.destroy_process_group()
    return max(0.0, least_s[True] - least_s[False]) / BLOCK / 2


def main(arguments: Any = None) -> None:
    """Be one of the two processes: where they meet, rounds, rank."""
    place, rounds, rank = arguments or sys.argv[1:]
    taken_s = _measure(place, int(rounds), int(rank))
    if int(rank) == 0:
        sys.stdout.write(f"{taken_s!r}\n")


if __name__ == "__main__":
    main()
