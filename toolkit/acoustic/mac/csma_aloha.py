"""CSMA-ALOHA: ALOHA behind a short random time of listening."""

from __future__ import annotations

from typing import final

from pydantic import Field

from toolkit.acoustic.mac import Mac
from toolkit.acoustic.node import MacInterface
from toolkit.core.program import Process


@final
class CsmaAloha(Mac):
    """Listens for a random time before each frame, and sends once a whole listening time has passed in silence.

    A sound that arrives meanwhile is waited out, and listening begins anew with a fresh random time. So nodes that waited for the same
    frame to end do not start in chorus, which a mere sense of the channel cannot prevent under water.

    Source: the CSMA-ALOHA module of the DESERT framework (Azad, Casari, Guerra and Zorzi 2011), with its constants: 0.1 s plus
    U(0, 0.5 s) of listening. Departures: without that module's own acknowledgements, which are left to routing; the channel is sensed
    every `sense_s`, and a channel busy for `patience_s` drops the frame.
    """

    listen_s: float = Field(0.5, ge=0, description="longest random listening time")
    least_s: float = Field(0.1, gt=0, description="constant part of the listening time")
    sense_s: float = Field(0.02, gt=0, description="time between two looks at the channel; shorter than the shortest frame")
    patience_s: float = Field(60.0, gt=0, description="time in which a frame must have been sent, or it is dropped (channel_busy)")

    def run(self, mac: MacInterface) -> Process:
        while True:
            frame = yield mac.next_frame()
            give_up_s = mac.now + self.patience_s
            while mac.now < give_up_s:
                silent = yield from self._listen(mac, give_up_s)
                if silent:
                    yield mac.transmit(frame)
                    break
            else:
                mac.give_up(frame)

    def _listen(self, mac: MacInterface, give_up_s: float) -> Process:
        """Wait for the channel to fall silent, then listen for a random time; return whether it stayed silent."""
        while mac.busy():
            if mac.now >= give_up_s:
                return False
            yield mac.sleep(self.sense_s)
        until_s = mac.now + self.least_s + self.listen_s * mac.rng.random()
        while mac.now < until_s:
            yield mac.sleep(min(self.sense_s, until_s - mac.now))
            if mac.busy():
                return False
        return True
