"""The medium: one broadcast channel in which sound takes its time, modems are half duplex, and frames overlap."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np
from simpy.events import Timeout

from toolkit.acoustic import kernel as phy
from toolkit.acoustic.channel import Channel, Floats
from toolkit.acoustic.fading import FastFading
from toolkit.acoustic.modem import Modem
from toolkit.acoustic.packets import Frame, PacketBook
from toolkit.core.alarm import Alarm
from toolkit.core.world import World
from toolkit.errors import CausalityError

if TYPE_CHECKING:
    from toolkit.acoustic.trace import Trace

Listener = Callable[[Frame, float], None]
Interference = Literal["piecewise", "mean"]

COMPILE_AFTER = 4000
"""Receptions after which compiling the kernel pays; up to then the plain functions run, with the same results."""

_NAMES = {
    phy.BUSY: "collision", phy.HALF_DUPLEX: "half_duplex", phy.DROWNED: "collision", phy.CAPTURED: "collision",
    phy.ABORTED: "half_duplex",
}
_OUTCOMES = {phy.DELIVERED: "delivered", phy.NOISE: "noise", phy.COLLISION: "collision"}


class Medium:
    """Carries frames between modems and charges both ends.

    A receiver pays for every frame that it locks on, from preamble to end, decoded or not, its own or overheard; it pays idle power
    the rest of the time. `tx_s` and `rx_s` are the seconds that each node has spent sending and receiving.
    """

    def __init__(
        self, world: World, channel: Channel, modem: Modem, fading: FastFading, book: PacketBook, count: int,
        interference: Interference = "piecewise",
    ) -> None:
        self._world = world
        self.trace: Trace | None = None
        self._channel = channel
        self._modem = modem
        self._rx_w = modem.rx_w
        self._fading = fading
        self._book = book
        self._count = count
        self._kernel = phy.PLAIN
        self._receptions = 0
        self._listeners: list[Listener] = [_deaf] * count
        self._draws = world.streams.rng("decode")
        self._fades = world.streams.rng("fading")
        self._uniform: list[float] = []
        self._fade_rows = np.ones((0, count))
        self._fade_next = 0
        success = modem.success_table()
        self._table = np.ascontiguousarray(success.log_rate)
        self._detect = 10.0 ** (modem.detection_snr_db / 10.0)
        self._settings = np.array([
            self._detect, 10.0 ** (modem.capture_db / 10.0), 10.0 ** (modem.cca_snr_db / 10.0), modem.ebn0_db(0.0),
            success.low_db, success.step_db, 1.0 if interference == "piecewise" else 0.0,
        ])
        self._ring = np.zeros(2, dtype=np.int64)
        self._lock = np.full(count, -1, dtype=np.int64)
        self._longest_s = 0.0
        self._frames = np.zeros((0, 4))
        self._start = self._power = self._heard_to = np.zeros((0, count))
        self._status = np.zeros((0, count), dtype=np.int8)
        self._expiry: list[float] = []
        self._in_flight: dict[int, _Arrivals] = {}
        self._resize(32)
        self._sending_until_s = [0.0] * count
        self._spare: list[_Arrivals] = []
        self.tx_s = [0.0] * count
        self.rx_s = [0.0] * count

    def listen(self, node: int, listener: Listener) -> None:
        """Call *listener* with (frame, measured SINR in dB) for every frame that *node* decodes."""
        self._listeners[node] = listener

    @property
    def modem(self) -> Modem:
        """The modem that all nodes have."""
        return self._modem

    def intercept(self, node: int, look: Callable[[Frame], bool]) -> None:
        """Call *look* before *node*'s listener, with every decoded frame; the listener gets those for which it returns False."""
        listener = self._listeners[node]

        def first_look(frame: Frame, snr_db: float) -> None:
            if not look(frame):
                listener(frame, snr_db)

        self._listeners[node] = first_look

    def busy(self, node: int) -> bool:
        """Whether *node* senses a busy channel: it sends, it receives, or what has arrived here exceeds the carrier threshold."""
        now = self._world.now
        if self._sending_until_s[node] > now:
            return True
        self._settle(node, now)
        current = self._lock[node]
        if current >= 0 and self._heard_to[current, node] > now:
            return True
        level = self._kernel.present_power(self._ring, node, now, self._frames, self._start, self._power)
        return bool(level > self._settings[phy.CARRIER] * self._channel.noise[node])

    def transmit(self, node: int, frame: Frame) -> Timeout:
        """Send *frame* from *node*; the event fires when the last bit has left.

        Raises:
            CausalityError: the node is still sending another frame.
        """
        now = self._world.now
        if self._sending_until_s[node] > now:
            raise CausalityError(f"node {node} starts a frame at {now} s while another leaves until {self._sending_until_s[node]} s")
        dur_s = self._modem.frame_s(frame.nbytes)
        self._abort_reception(node, now)
        self._sending_until_s[node] = now + dur_s
        sent_s = min(dur_s, self._world.duration_s - now)
        self.tx_s[node] += sent_s
        packet = frame.packet
        self._world.ledger.charge(
            now, sent_s, node, frame.dst, "tx", frame.kind, 0.0, frame.nbytes, sent_s * self._modem.tx_w, "sent",
            -1 if packet is None else packet.id,
        )
        row = self._claim_row(now, dur_s)
        start = self._start[row]
        power = self._power[row]
        np.add(self._channel.delay_s[node], now, out=start)
        np.multiply(self._channel.power[node], self._next_fades(), out=power)
        self._frames[row] = (now, dur_s, node, 8.0 * frame.nbytes)
        hearable = power >= self._detect * self._channel.noise
        np.copyto(self._status[row], np.where(hearable, phy.PENDING, phy.WEAK))
        receivers = hearable.nonzero()[0]
        order = receivers[start[receivers].argsort(kind="stable")]
        if packet is not None:
            self._book.hold(packet)
            if not len(order):
                packet.reason = "unheard"
        arrivals = self._spare.pop() if self._spare else _Arrivals(self)
        self._in_flight[row] = arrivals
        arrivals.begin(frame, row, now, dur_s, order.tolist(), (start[order] + dur_s).tolist())
        if self.trace is not None:
            arrivals.number = self.trace.sent(sent_s, node, frame, heard=len(order) > 0)
        return self._world.env.timeout(dur_s)

    def finish(self) -> None:
        """Charge receptions that the end of the run cuts off, and idle time, so that the states of each node fill the run."""
        end_s = self._world.duration_s
        for arrivals in list(self._in_flight.values()):
            for node in arrivals.remaining():
                self._settle(node, end_s)
                status = int(self._status[arrivals.row, node])
                if status in {phy.LOCKED, phy.CAPTURED, phy.ABORTED}:
                    until_s = min(end_s, float(self._heard_to[arrivals.row, node]))
                    begin_s = float(self._start[arrivals.row, node])
                    self._charge_reception(node, arrivals.frame, begin_s, until_s, _NAMES.get(status, "in_flight"))
                    if self.trace is not None:
                        self._trace(self.trace, arrivals, node, begin_s, until_s, _NAMES.get(status, "in_flight"))
        for node in range(self._count):
            idle_s = end_s - self.tx_s[node] - self.rx_s[node]
            self._world.ledger.charge(0.0, idle_s, node, node, "idle", "", energy_j=idle_s * self._modem.idle_w)

    def receive(self, arrivals: _Arrivals, node: int) -> None:
        """One arrival ended at *node*."""
        if not self._uniform:
            self._uniform = self._draws.random(1024).tolist()
        status, code, sinr_db, begin_s, until_s = self._kernel.receive(
            self._ring, node, arrivals.row, self._uniform[-1], self._frames, self._start, self._power, self._status, self._heard_to,
            self._lock, self._channel.noise, self._settings, self._table,
        )
        frame = arrivals.frame
        if status != phy.LOCKED:
            outcome = _NAMES[status]
            self._charge_reception(node, frame, float(begin_s), float(until_s), outcome)
            if self.trace is not None:
                self._trace(self.trace, arrivals, node, float(begin_s), float(until_s), outcome)
            self._note_loss(frame, node, outcome)
            return
        self._uniform.pop()
        self._receptions += 1
        if self._receptions == COMPILE_AFTER:
            self._kernel = phy.compiled()
        outcome = _OUTCOMES[code]
        self._charge_reception(node, frame, float(begin_s), self._world.env.now, outcome)
        if self.trace is not None:
            self._trace(self.trace, arrivals, node, float(begin_s), self._world.env.now, outcome, float(sinr_db))
        if code == phy.DELIVERED:
            self._listeners[node](frame, sinr_db)
        else:
            self._note_loss(frame, node, outcome)

    def retire(self, arrivals: _Arrivals) -> None:
        """The last arrival of a frame ended: its copy in the water is gone."""
        packet = arrivals.frame.packet
        del self._in_flight[arrivals.row]
        self._spare.append(arrivals)
        if packet is not None:
            self._book.drop(packet, "")

    def _note_loss(self, frame: Frame, node: int, outcome: str) -> None:
        """Remember why a frame that was meant for *node* (or for anybody) did not get there."""
        if frame.packet is not None and not frame.packet.delivered and frame.dst in {node, -1}:
            frame.packet.reason = outcome

    def _charge_reception(self, node: int, frame: Frame, begin_s: float, until_s: float, outcome: str) -> None:
        dur_s = max(0.0, until_s - begin_s)
        self.rx_s[node] += dur_s
        packet = frame.packet
        self._world.ledger.charge(
            begin_s, dur_s, node, frame.src, "rx", frame.kind, 0.0, frame.nbytes, dur_s * self._rx_w, outcome,
            -1 if packet is None else packet.id,
        )

    def _trace(
        self, trace: Trace, arrivals: _Arrivals, node: int, begin_s: float, until_s: float, outcome: str, sinr_db: float = math.nan
    ) -> None:
        snr = float(self._power[arrivals.row, node] / self._channel.noise[node])
        dur_s = max(0.0, until_s - begin_s)
        trace.received(begin_s, dur_s, node, arrivals.number, arrivals.frame, 10.0 * math.log10(snr), sinr_db, outcome)

    def _settle(self, node: int, until_s: float) -> None:
        self._kernel.settle(
            self._ring, node, until_s, self._frames, self._start, self._power, self._status, self._heard_to, self._lock,
            self._channel.noise, self._settings,
        )

    def _abort_reception(self, node: int, now: float) -> None:
        self._settle(node, now)
        current = self._lock[node]
        if current >= 0 and self._status[current, node] == phy.LOCKED and self._heard_to[current, node] > now:
            self._status[current, node] = phy.ABORTED
            self._heard_to[current, node] = now

    def _next_fades(self) -> Floats:
        """Power gains of one frame at all receivers, drawn in batches."""
        if self._fade_next >= len(self._fade_rows):
            self._fade_rows = self._fading.power_gains(self._fades, (64, self._count))
            self._fade_next = 0
        self._fade_next += 1
        fades: Floats = self._fade_rows[self._fade_next - 1]
        return fades

    def _claim_row(self, now: float, dur_s: float) -> int:
        """Return a free row of the ring. A row lives until nothing that overlaps it can still be undecided."""
        self._longest_s = max(self._longest_s, dur_s)
        rows = len(self._frames)
        head, tail = int(self._ring[0]), int(self._ring[1])
        while head < tail and self._expiry[head % rows] < now:
            for node in (self._lock == head % rows).nonzero()[0]:
                self._lock[node] = -1
            head += 1
        self._ring[0] = head
        if tail - head == rows:
            self._resize(2 * rows)
            rows = len(self._frames)
            head, tail = int(self._ring[0]), int(self._ring[1])
        row = tail % rows
        self._ring[1] = tail + 1
        self._heard_to[row] = 0.0
        self._expiry[row] = now + float(self._channel.delay_s.max()) + dur_s + 2.0 * self._longest_s
        return row

    def _resize(self, rows: int) -> None:
        """Move the live rows to a ring of *rows* rows."""
        old = len(self._frames)
        head, tail = int(self._ring[0]), int(self._ring[1])
        live = [count % old for count in range(head, tail)]
        for name in ("_frames", "_start", "_power", "_heard_to", "_status"):
            before = getattr(self, name)
            after = np.zeros((rows, before.shape[1]), dtype=before.dtype)
            after[: len(live)] = before[live]
            setattr(self, name, after)
        self._expiry = [self._expiry[row] for row in live] + [0.0] * (rows - len(live))
        moved = {row: place for place, row in enumerate(live)}
        self._lock = np.array([moved.get(int(row), -1) for row in self._lock], dtype=np.int64)
        self._in_flight = {moved[row]: arrivals for row, arrivals in self._in_flight.items()}
        for row, arrivals in self._in_flight.items():
            arrivals.row = row
        self._ring[:] = (0, len(live))


class _Arrivals:
    """The ends of one frame's arrivals, nearest receiver first, on one re-used alarm."""

    __slots__ = ("_alarm", "_ends_s", "_medium", "_next", "_nodes", "frame", "number", "row")

    def __init__(self, medium: Medium) -> None:
        self._medium = medium
        self.number = -1
        self._alarm = Alarm(medium._world.env, self._ring)

    def begin(self, frame: Frame, row: int, now: float, dur_s: float, nodes: list[int], ends_s: list[float]) -> None:
        self.frame = frame
        self.row = row
        self._nodes = nodes
        self._ends_s = ends_s
        self._next = 0
        self._alarm.ring_at(ends_s[0] if nodes else now + dur_s)

    def remaining(self) -> list[int]:
        """Receivers whose arrival has not ended yet."""
        return self._nodes[self._next :]

    def _ring(self, _: object) -> None:
        index = self._next
        if index < len(self._nodes):
            self._next = index + 1
            self._medium.receive(self, self._nodes[index])
        if self._next < len(self._nodes):
            self._alarm.ring_at(self._ends_s[self._next])
        else:
            self._medium.retire(self)


def _deaf(frame: Frame, snr_db: float) -> None:
    """A node that nobody listens at."""
