"""Medium access: when a modem may send the next frame of its queue."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

from pydantic import Field

from toolkit.acoustic.node import MacInterface
from toolkit.core.part import Part
from toolkit.core.program import Process


class Mac(Part):
    """A medium access protocol: one process per node that takes frames from the queue and sends them."""

    family: ClassVar[str] = "MAC"

    queue_limit: int = Field(50, ge=1, description="frames that may wait; more are dropped (queue_full)")

    @abstractmethod
    def run(self, mac: MacInterface) -> Process:
        """Serve the queue for ever."""

    def serve(self, mac: MacInterface) -> None:
        """Begin to serve the queue: start `run`."""
        mac.start(self.run(mac))

    def guarded_m(self) -> float | None:
        """The distance that its timing allows for, beyond which nodes that hear each other are in the way; None where none is supposed."""
        return None


def next_slot(t_s: float, slot_s: float) -> int:
    """Number of the first slot that begins at *t_s* or later; a beginning missed by rounding alone is not missed."""
    return max(0, math.ceil(t_s / slot_s - 1e-9))
