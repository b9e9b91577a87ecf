"""Mine: a MAC to begin with. It listens before it sends, and waits longer each time that the channel is busy.

    toolkit check ./mine.py
    toolkit simulate SCENARIO.yaml --set fabric.mac=mine        with this file beside the scenario
"""

from __future__ import annotations

from typing import final

from pydantic import Field

from toolkit.acoustic.mac import Mac
from toolkit.acoustic.node import MacInterface
from toolkit.core.program import Process


@final
class Mine(Mac):
    """Carrier sense with a back-off that doubles: a wait is uniform up to `slot_s`, then up to twice that, and so on.

    Settings are fields like these, with bounds and a description; what changes during a run is local to `run`.
    """

    slot_s: float = Field(0.2, gt=0, description="longest first wait")
    doublings: int = Field(5, ge=0, le=20, description="how often that is doubled")
    attempts: int = Field(30, ge=1, description="busy senses after which a frame is given up")

    def run(self, mac: MacInterface) -> Process:
        """Serve the queue of one node for ever: take a frame, wait until the channel is idle here, send it."""
        while True:
            frame = yield mac.next_frame()
            for attempt in range(self.attempts):
                if not mac.busy():
                    yield mac.transmit(frame)
                    break
                longest_s = self.slot_s * 2 ** min(attempt, self.doublings)
                yield mac.sleep(longest_s * mac.rng.random())
            else:
                mac.give_up(frame)
