"""Devices: how long a machine needs for a `Work`, and what it draws meanwhile."""

from __future__ import annotations

from typing import final

from pydantic import Field

from toolkit.core.part import Spec
from toolkit.core.work import Work


@final
class Device(Spec):
    """A machine under the roofline model (Williams, Waterman and Patterson 2009).

    The defaults are those of a small sensor-node microcontroller (Cortex-M4F class, 80 MHz, single precision): one
    multiply-add per cycle at best, reached to a quarter by compiled code, 30 mW while busy. They are round numbers of that
    class, not a measurement of one board.
    """

    peak_flops_per_s: float = Field(80e6, gt=0, description="peak floating-point rate")
    efficiency: float = Field(0.25, gt=0, le=1, description="share of the peak that real code reaches")
    memory_bytes_per_s: float = Field(160e6, gt=0, description="memory bandwidth")
    overhead_s: float = Field(20e-6, ge=0, description="fixed cost of starting a computation")
    busy_w: float = Field(0.03, ge=0, description="electrical power while computing")

    def duration_s(self, work: Work) -> float:
        """Roofline time: overhead plus the larger of arithmetic time and memory time."""
        arithmetic_s = work.flops / (self.peak_flops_per_s * self.efficiency)
        memory_s = (work.read_bytes + work.write_bytes) / self.memory_bytes_per_s
        return self.overhead_s + max(arithmetic_s, memory_s)
