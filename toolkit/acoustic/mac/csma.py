"""CSMA: listen before sending."""

from __future__ import annotations

from typing import final

from pydantic import Field

from toolkit.acoustic.mac import Mac
from toolkit.acoustic.node import MacInterface
from toolkit.core.program import Process


@final
class Csma(Mac):
    """Non-persistent (or p-persistent) carrier sense with a uniform back-off of `window` slots.

    Sound is slow: a node senses only what has already arrived where it is, so a frame that is still on its way is not noticed.
    The defaults (10 slots of 20 ms) are those of the contention-window MAC of ns-3's UAN module.
    """

    window: int = Field(10, ge=1, description="back-off is uniform over this many slots")
    slot_s: float = Field(0.02, gt=0, description="length of a back-off slot")
    persistence: float = Field(1.0, gt=0, le=1, description="probability of sending into an idle channel; else wait one slot")
    attempts: int = Field(50, ge=1, description="busy senses after which the frame is dropped (channel_busy)")

    def run(self, mac: MacInterface) -> Process:
        while True:
            frame = yield mac.next_frame()
            for _ in range(self.attempts):
                if mac.busy():
                    yield mac.sleep(self.slot_s * self.window * mac.rng.random())
                elif self.persistence < 1.0 and mac.rng.random() >= self.persistence:
                    yield mac.sleep(self.slot_s)
                else:
                    yield mac.transmit(frame)
                    break
            else:
                mac.give_up(frame)
