"""TDMA: every node has a slot of its own."""

from __future__ import annotations

import math
from typing import final

from pydantic import Field

from toolkit.acoustic.mac import Mac
from toolkit.acoustic.node import MacInterface
from toolkit.core.program import Process
from toolkit.errors import ScenarioError


@final
class Tdma(Mac):
    """Time in rounds of one slot per node; a node sends in its own slot only, and as many frames as the slot has room for.

    A slot ends with a guard of `range_m` / `speed_m_s`, the way of the sound, so that no two frames meet anywhere within that range.
    With fewer `slots` than nodes, nodes whose ids agree modulo `slots` share one: spatial reuse, which collides if they are near.

    Departures: clocks are perfect, slots are given by id and not negotiated.
    """

    slot_nbytes: int = Field(192, ge=1, description="bytes that a slot has room for, in one frame")
    range_m: float = Field(1500.0, gt=0, description="distance whose travel time guards a slot")
    speed_m_s: float = Field(1500.0, gt=0, description="sound speed that the guard assumes")
    gap_s: float = Field(0.001, gt=0, description="pause between two frames in one slot, by which a receiver can tell them apart")
    slots: int | None = Field(None, ge=1, description="slots in a round; none means one per node, sinks included")

    def guarded_m(self) -> float | None:
        return self.range_m

    def run(self, mac: MacInterface) -> Process:
        slots = self.slots or mac.size
        room_s = mac.airtime_s(self.slot_nbytes)
        slot_s = room_s + self.range_m / self.speed_m_s
        round_s = slots * slot_s
        offset_s = slot_s * (mac.node % slots)
        while True:
            frame = yield mac.next_frame()
            airtime_s = mac.airtime_s(frame.nbytes)
            if airtime_s > room_s:
                raise ScenarioError(
                    f"fabric.mac.slot_nbytes: {self.slot_nbytes} bytes have no room for a {frame.kind} frame of {frame.nbytes} bytes; "
                    f"at least {frame.nbytes} are needed"
                )
            turn = math.floor((mac.now - offset_s) / round_s + 1e-9)
            start_s = offset_s + round_s * turn
            if turn < 0 or mac.now + airtime_s > start_s + room_s + 1e-9 * slot_s:  # no room left in the slot that is going on
                yield mac.sleep_until(start_s + round_s)
            yield mac.transmit(frame)
            yield mac.sleep(self.gap_s)
