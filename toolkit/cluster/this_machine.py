"""What this machine can do, measured in under a second and a half: matrix products, copies, the cost of a call."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import cache
from time import perf_counter

import numpy as np

SIDE = 1024
"""Rows and columns of the matrices multiplied: large enough for the library's full rate, 12 MiB in all."""
COPY_BYTES = 64 * 1024**2
"""Size of the copied array: with its copy 128 MiB, beyond the caches of most processors."""
CALLS = 500
"""Calls timed together, since the clock is coarser than one call."""
BUDGET_S = 0.3
"""Time spent on each of the three measurements at most, however slow the machine, save for the one run that each needs."""


@cache
def measure() -> dict[str, object]:
    """Return the measured fields of a `Device`, rounded to three digits; measured once per process.

    The best of the repetitions counts, since whatever else runs on the machine can only slow one down. Uses the threads that
    NumPy's matrix library has been given. Memory is what is installed, storage the size of the disk of the working directory.
    """
    rng = np.random.default_rng(0)
    a, b = (rng.random((SIDE, SIDE), dtype=np.float32) for _ in range(2))
    out = np.empty_like(a)
    product_s = _best_s(lambda: np.matmul(a, b, out=out))

    original = np.ones(COPY_BYTES // 8)
    copied = np.empty_like(original)
    copy_s = _best_s(lambda: np.copyto(copied, original))

    small = np.ones((4, 4), dtype=np.float32)

    def call() -> None:
        for _ in range(CALLS):
            np.matmul(small, small)

    call_s = _best_s(call) / CALLS
    flops_per_s, bytes_per_s = _round(2 * SIDE**3 / product_s), _round(2 * COPY_BYTES / copy_s)
    return {
        "source": (
            f"Measured here: sgemm of side {SIDE} at {flops_per_s:.3g} FLOP/s, copying {COPY_BYTES // 2**20} MiB at"
            f" {bytes_per_s:.3g} B/s (read and written), {_round(call_s):.3g} s a call."
        ),
        "peak_flops_per_s": flops_per_s,
        "efficiency": 1.0,
        "memory_bytes_per_s": bytes_per_s,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "storage_bytes": shutil.disk_usage(os.curdir).total,
        "overhead_s": _round(call_s),
    }


def _best_s(run: Callable[[], object]) -> float:
    """Return the shortest of the runs that fit into the budget; the first one warms up and counts only if it is the only one."""
    begun_s = perf_counter()
    times: list[float] = []
    while not times or perf_counter() - begun_s < BUDGET_S:
        start_s = perf_counter()
        run()
        times.append(perf_counter() - start_s)
    return min(times[1:] or times)


def _round(value: float) -> float:
    return float(f"{value:.3g}")
