"""Times of computations that other work on the machine disturbs as little as can be: CPU time on CPUs, device time on GPUs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter, process_time

import numpy as np
import torch

BLOCK_S = 0.01
"""A block of calls takes at least this long, since the clock of CPU time is coarse."""
BUSY = 1.3
"""Wall time over CPU time above which a machine is called busy."""


@dataclass(frozen=True)
class Times:
    """What was found."""

    seconds: dict[str, float]
    """Of one call, by name: the least of all blocks, since other work can only slow one down, by sharing caches and memory."""
    spread: dict[str, float]
    """Median over least, by name."""
    waited: float
    """Wall time over CPU time of all of them together; 1 where nothing else ran. 1 on GPUs, whose clock is their own."""

    @property
    def busy(self) -> bool:
        return self.waited > BUSY


def times_of(calls: Mapping[str, Callable[[], None]], rounds: int, device: str = "cpu") -> Times:
    """Time every one of *calls* in *rounds* rounds, in which they take turns, so that a busy moment meets all of them."""
    block = _block_on_gpu if device.startswith("cuda") else _block
    counts = {}
    for name, call in calls.items():
        call()  # warms up
        call()
        counts[name] = max(1, round(BLOCK_S / max(block(call, 1), 1e-6)))
    found: dict[str, list[float]] = {name: [] for name in calls}
    wall_s, cpu_s = perf_counter(), process_time()
    for _ in range(rounds):
        for name, call in calls.items():
            found[name].append(block(call, counts[name]))
    wall_s, cpu_s = perf_counter() - wall_s, process_time() - cpu_s
    least, median = ({name: float(choose(times)) for name, times in found.items()} for choose in (np.min, np.median))
    waited = 1.0 if device.startswith("cuda") else wall_s * torch.get_num_threads() / cpu_s
    return Times(least, {name: median[name] / least[name] for name in calls}, waited)


def _block(call: Callable[[], None], count: int) -> float:
    """Return the CPU time in s of one of *count* calls, over the threads that torch has."""
    begun_s = process_time()
    for _ in range(count):
        call()
    return (process_time() - begun_s) / count / torch.get_num_threads()


def _block_on_gpu(call: Callable[[], None], count: int) -> float:
    """Return the time in s on the device's own clock, from the first kernel to the last."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    begin.record()
    for _ in range(count):
        call()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1e3 / count
