"""A network on a device: latency, energy and memory of one inference by the roofline, and what this machine really takes."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import nn

from toolkit.core.device import Device
from toolkit.learning.work import Count, count, peak_memory_bytes

BATCHES = (1, 256)
REPEATS = 7
MEASURED = "this_machine"
"""The profile that is measured when it is asked for: left out of tables that have to repeat."""


class Deployment(NamedTuple):
    """One inference of a batch."""

    latency_s: float
    energy_j: float
    memory_bytes: int


@lru_cache(maxsize=1)
def profiles() -> dict[str, Device]:
    """Return every device profile whose numbers stand in a file."""
    return {name: Device(profile=name) for name in Device.profiles() if name != MEASURED}


def deployed(counted: Count, memory_bytes: int, device: Device) -> Deployment:
    """Return latency and energy of work that was counted, each kernel paid for."""
    latency_s = device.duration_s(counted.work.beyond_first())
    return Deployment(latency_s, latency_s * device.busy_w, memory_bytes)


def on_devices(model: nn.Module, shape: tuple[int, ...], batch: int) -> dict[str, Deployment]:
    """Return the deployment of *model* on every device profile, for batches of so many images of *shape*."""
    counted = count(model, (batch, *shape), training=False)
    memory_bytes = peak_memory_bytes(model, (batch, *shape), training=False, optimiser_state=0.0)
    return {name: deployed(counted, memory_bytes, device) for name, device in profiles().items()}


@torch.no_grad()
def measured_s(model: nn.Module, shape: tuple[int, ...], batch: int) -> float:
    """Return the CPU time in s of one inference here: the best of several, on as many threads as torch has; not repeatable."""
    images = torch.zeros((batch, *shape))
    model.eval()
    model(images)
    calls = max(1, 32 // batch)
    best = float("inf")
    for _ in range(REPEATS):
        begun_s = time.process_time()
        for _ in range(calls):
            model(images)
        best = min(best, (time.process_time() - begun_s) / calls)
    return best
