"""S-FAMA: slotted floor acquisition with RTS and CTS."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple, final

from pydantic import Field
from simpy.events import Event

from toolkit.acoustic.mac import Mac, next_slot
from toolkit.acoustic.node import MacInterface
from toolkit.acoustic.packets import BROADCAST, Frame
from toolkit.core.program import Process

CONTROL_BYTES = 10
"""RTS, CTS or ACK: type 1, from 2, to 2, slots of data 1, sequence 2, CRC 2."""


class Reservation(NamedTuple):
    """What an RTS or CTS says beside its addresses."""

    slots: int
    """Slots that the data will take."""


@dataclass(eq=False)
class SfamaState:
    """What one modem knows of the floor."""

    slot_s: float
    quiet_until_s: float = 0.0
    """The floor is someone else's, or promised, until then."""
    engaged: bool = False
    """An own RTS is under way, or the data after it."""
    awaited: tuple[str, int, Event] | None = None
    """Kind and sender of the answer that is being waited for."""
    last: dict[int, Frame] = field(default_factory=dict)
    """The last data frame of each sender; a real frame carries a sequence number to the same end."""


@final
class Sfama(Mac):
    """Asks for the floor before it sends: RTS, CTS, data, ACK, each at the beginning of a slot.

    A slot lasts as long as a CTS and its way over `range_m`, plus a guard: whatever was sent at its beginning has been heard by all
    neighbours at its end. Data take as many slots as they and their way need. Who hears an RTS or CTS that is not for him keeps silent
    until the exchange is over. An RTS without CTS, or data without ACK, is followed by a random wait of 1 to `backoff_slots` slots and
    another RTS. Broadcasts, and frames of at most `short_nbytes` (acknowledgements of routing), go out at the beginning of a free slot
    without asking.

    Source: Molins and Stojanovic 2006 (OCEANS, "Slotted FAMA"); guard, back-off and how long to keep silent as in Aqua-Sim NG's
    `aqua-sim-mac-sfama.cc`. Departures: clocks are perfect; no trains of several data frames; silence after an RTS lasts for the whole
    exchange, as in Aqua-Sim, where the paper lets go when no data follow; data without ACK begin again at the RTS; who had to keep
    silent draws a few more slots, or all would start in chorus.
    """

    range_m: float = Field(1500.0, gt=0, description="distance whose travel time a slot allows for")
    speed_m_s: float = Field(1500.0, gt=0, description="sound speed that the slot assumes")
    guard_s: float = Field(0.005, gt=0, description="guard at the end of a slot")
    backoff_slots: int = Field(4, ge=1, description="longest random wait")
    attempts: int = Field(8, ge=1, description="RTS sent for a frame before it is dropped (unanswered)")
    patience_slots: int = Field(400, ge=1, description="slots that a frame waits for a free floor before it is dropped (channel_busy)")
    short_nbytes: int = Field(24, ge=0, description="unicast frames no longer than this are sent without RTS")

    def guarded_m(self) -> float | None:
        return self.range_m

    def slot_s(self, mac: MacInterface) -> float:
        """Length of a slot."""
        return mac.airtime_s(CONTROL_BYTES) + self.range_m / self.speed_m_s + self.guard_s

    def run(self, mac: MacInterface) -> Process:
        state = SfamaState(self.slot_s(mac))
        mac.intercept(lambda frame: self._overhear(mac, state, frame))
        while True:
            frame = yield mac.next_frame()
            if self._asks(frame):
                yield from self._exchange(mac, state, frame)
            elif (yield from self._free_slot(mac, state)):
                yield mac.transmit(frame)
            else:
                mac.give_up(frame)

    def _asks(self, frame: Frame) -> bool:
        return frame.dst != BROADCAST and frame.nbytes > self.short_nbytes

    def _exchange(self, mac: MacInterface, state: SfamaState, frame: Frame) -> Process:
        """Carry one frame over: RTS, CTS, data, ACK."""
        slot_s = state.slot_s
        way_s = self.range_m / self.speed_m_s + self.guard_s
        slots = math.ceil((mac.airtime_s(frame.nbytes) + way_s) / slot_s)
        for _ in range(self.attempts):
            if not (yield from self._free_slot(mac, state)):
                mac.give_up(frame)
                return
            if mac.is_over(frame):
                mac.give_up(frame, "expired")
                return
            now = round(mac.now / slot_s)
            state.engaged = True
            yield mac.emit(Frame("rts", mac.node, frame.dst, CONTROL_BYTES, body=Reservation(slots)))
            granted = yield from self._await(mac, state, "cts", frame.dst, slot_s * (now + 2))
            if granted:
                yield mac.sleep_until(slot_s * (now + 2))
                if mac.is_over(frame):
                    state.engaged = False
                    mac.give_up(frame, "expired")
                    return
                yield mac.emit(frame)
                acknowledged = yield from self._await(mac, state, "mac_ack", frame.dst, slot_s * (now + 3 + slots))
                if acknowledged:
                    state.engaged = False
                    mac.tell_sent(frame)
                    return
            state.engaged = False
            yield mac.sleep(slot_s * int(mac.rng.integers(0, self.backoff_slots)) + slot_s / 2)
        mac.give_up(frame, "unanswered")

    def _free_slot(self, mac: MacInterface, state: SfamaState) -> Process:
        """Wait for the beginning of a slot in which the floor is free; return whether it came in time."""
        waited = False
        for _ in range(self.patience_slots):
            yield mac.sleep_until(state.slot_s * next_slot(mac.now, state.slot_s))
            if mac.now >= state.quiet_until_s - 1e-9 and not mac.busy():
                if not waited:
                    return True
                waited = False
                extra = int(mac.rng.integers(0, self.backoff_slots))
                if extra == 0:
                    return True
                yield mac.sleep(state.slot_s * (extra - 0.5))
            else:
                waited = True
                yield mac.sleep(max(state.slot_s / 2, state.quiet_until_s - mac.now - state.slot_s / 2))
        return False

    def _await(self, mac: MacInterface, state: SfamaState, kind: str, sender: int, until_s: float) -> Process:
        """Wait for an answer; return whether it came."""
        answer = mac.event()
        state.awaited = (kind, sender, answer)
        yield answer | mac.sleep_until(until_s)
        state.awaited = None
        return answer.triggered

    def _overhear(self, mac: MacInterface, state: SfamaState, frame: Frame) -> bool:
        """Answer what is for this node, keep silent for the others; True for frames that are none of routing's business."""
        slot_s = state.slot_s
        slot = next_slot(mac.now, slot_s)
        if not isinstance(frame.body, Reservation):
            if not self._asks(frame):
                return False
            if frame.dst != mac.node:
                state.quiet_until_s = max(state.quiet_until_s, slot_s * (slot + 1))  # for the ACK
                return False
            known = state.last.get(frame.src) is frame
            state.last[frame.src] = frame
            mac.start(self._answer(mac, Frame("mac_ack", mac.node, frame.src, CONTROL_BYTES, body=Reservation(0)), slot_s * slot))
            return known
        slots = frame.body.slots
        if frame.dst != mac.node:
            ahead = {"rts": slots + 2, "cts": slots + 1}.get(frame.kind, 0)
            state.quiet_until_s = max(state.quiet_until_s, slot_s * (slot + ahead))
        elif frame.kind == "rts":
            if not state.engaged and mac.now >= state.quiet_until_s:
                state.quiet_until_s = slot_s * (slot + slots + 2)
                cts = Frame("cts", mac.node, frame.src, CONTROL_BYTES, body=Reservation(slots))
                mac.start(self._answer(mac, cts, slot_s * slot))
        elif state.awaited is not None and state.awaited[:2] == (frame.kind, frame.src):
            answer = state.awaited[2]
            if not answer.triggered:
                answer.succeed()
        return True

    def _answer(self, mac: MacInterface, frame: Frame, at_s: float) -> Process:
        yield mac.sleep_until(at_s)
        yield mac.emit(frame)
