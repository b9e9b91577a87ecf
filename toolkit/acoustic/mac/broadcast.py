"""The broadcast MAC of Aqua-Sim: sense, back off a few times, give up."""

from __future__ import annotations

from typing import final

from pydantic import Field

from toolkit.acoustic.mac import Mac
from toolkit.acoustic.node import MacInterface
from toolkit.core.program import Process


@final
class Broadcast(Mac):
    """Sends at once into an idle channel; in a busy one it waits U(0, `backoff_s`), and drops the frame at the fourth busy sense.

    Source: Aqua-Sim NG, `aqua-sim-mac-broadcast.cc` (back-off up to 0.1 s, at most 4), the MAC that VBF and HH-VBF were studied with.
    Departures: there a frame that finds its own modem sending is dropped; here it waits in the queue.
    """

    backoff_s: float = Field(0.1, gt=0, description="longest wait after a busy sense")
    attempts: int = Field(4, ge=1, description="busy senses at which the frame is dropped (channel_busy)")

    def run(self, mac: MacInterface) -> Process:
        while True:
            frame = yield mac.next_frame()
            for _ in range(self.attempts):
                if not mac.busy():
                    yield mac.transmit(frame)
                    break
                yield mac.sleep(self.backoff_s * mac.rng.random())
            else:
                mac.give_up(frame)
