"""Medium access: when a modem may send the next frame of its queue."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from pydantic import Field

from toolkit.acoustic.node import Radio
from toolkit.core.part import Part
from toolkit.core.program import Process


class Mac(Part):
    """A medium access protocol: one process per node that takes frames from the queue and sends them."""

    family: ClassVar[str] = "MAC"

    queue_limit: int = Field(50, ge=1, description="frames that may wait; more are dropped (queue_full)")

    @abstractmethod
    def run(self, radio: Radio) -> Process:
        """Serve the queue for ever."""
