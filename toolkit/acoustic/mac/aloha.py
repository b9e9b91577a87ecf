"""Pure ALOHA: send at once."""

from __future__ import annotations

from typing import final

from toolkit.acoustic.mac import Mac
from toolkit.acoustic.node import MacInterface
from toolkit.core.program import Process


@final
class Aloha(Mac):
    """Sends every frame as soon as the modem is free (Abramson 1970). Throughput G exp(-2 G) under Poisson load."""

    def run(self, mac: MacInterface) -> Process:
        while True:
            frame = yield mac.next_frame()
            yield mac.transmit(frame)

    def serve(self, mac: MacInterface) -> None:
        mac.send_at_once()  # what `run` does, without a process to be resumed twice for every frame
