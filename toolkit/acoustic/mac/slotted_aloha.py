"""Slotted ALOHA: send at the beginning of a slot."""

from __future__ import annotations

from typing import final

from pydantic import Field

from toolkit.acoustic.mac import Mac, next_slot
from toolkit.acoustic.node import MacInterface
from toolkit.core.program import Process


@final
class SlottedAloha(Mac):
    """Sends every frame at the beginning of the next slot. Throughput G exp(-G) under Poisson load of G frames per slot.

    A slot has room for a frame of `frame_nbytes` and for the way of the sound over `range_m`, so that frames of different slots never
    overlap at a receiver within that range. A longer frame begins at a slot and runs on into the following ones.

    Source: Roberts 1975 for the protocol; the slot of transmission plus propagation time is the usual one under water.
    Departures: clocks are perfect.
    """

    frame_nbytes: int = Field(96, ge=1, description="longest frame that one slot has room for, headers included")
    range_m: float = Field(1500.0, gt=0, description="distance whose travel time a slot allows for")
    speed_m_s: float = Field(1500.0, gt=0, description="sound speed that the slot assumes")

    def slot_s(self, mac: MacInterface) -> float:
        """Length of a slot: the longest frame and its way."""
        return mac.airtime_s(self.frame_nbytes) + self.range_m / self.speed_m_s

    def run(self, mac: MacInterface) -> Process:
        slot_s = self.slot_s(mac)
        while True:
            frame = yield mac.next_frame()
            yield mac.sleep_until(slot_s * next_slot(mac.now, slot_s))
            yield mac.transmit(frame)
