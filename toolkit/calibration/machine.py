"""The machine that this runs on, as the fields of a `toolkit.core.device.Device`."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from toolkit.calibration.fit import Constants, fitted
from toolkit.calibration.probes import FITTED, Probe
from toolkit.calibration.timing import Times, times_of

OWN_WEIGHT = 30.0
"""How much a network of the user's own counts beside a probe: its price is to be right before all others."""


class Calibration(NamedTuple):
    """What was timed, and what fits it."""

    constants: Constants
    times: Times
    fitted_to: tuple[Probe, ...]
    others: tuple[Probe, ...]
    device: str

    @property
    def fields(self) -> dict[str, float]:
        """Return the constants as fields of a device; the peak is the rate of matrix products, reached in full."""
        found = {name: _round(value) for name, value in self.constants._asdict().items()}
        return {**found, "peak_flops_per_s": found["matrix_flops_per_s"], "efficiency": 1.0}

    @property
    def source(self) -> str:
        """Return how the constants came about, for the file that they are written to."""
        names = ", ".join(probe.name for probe in self.fitted_to)
        busy = f", while other work ran (wall time {self.times.waited:.1f} times the CPU time)" if self.times.busy else ""
        clock = "device time" if self.device.startswith("cuda") else "CPU time of one thread"
        return (
            f"Measured on {machine_name(self.device)} with torch {torch.__version__} ({clock}{busy}): constants of kernels fitted to the "
            f"gradients of {names}."
        )


def calibrate(own: Sequence[Probe] = (), others: Sequence[Probe] = (), *, rounds: int, device: str = "cpu") -> Calibration:
    """Time the probes, and those networks of the user's *own* that are to fit above all; *others* are timed and not fitted to.

    On one thread of the CPU, or on a GPU.
    """
    probes, threads = (*FITTED, *own), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = times_of({probe.name: probe.gradient(device) for probe in (*probes, *others)}, rounds, device)
    finally:
        torch.set_num_threads(threads)
    weights = [1.0] * len(FITTED) + [OWN_WEIGHT] * len(own)
    constants = fitted([probe.work() for probe in probes], [times.seconds[probe.name] for probe in probes], weights)
    return Calibration(constants, times, probes, tuple(others), device)


def sizes(device: str = "cpu", folder: Path | None = None) -> Mapping[str, float]:
    """Return what a machine has room for: its memory (a GPU's own), and the disk of the working directory."""
    memory = torch.cuda.get_device_properties(device).total_memory if device.startswith("cuda") else (
        os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    )
    return {"memory_bytes": memory, "storage_bytes": shutil.disk_usage(folder or os.curdir).total}


def machine_name(device: str = "cpu") -> str:
    """Return what the processor is called, as far as the system says."""
    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(device))
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.machine()


def _round(value: float) -> float:
    return float(f"{value:.4g}")
