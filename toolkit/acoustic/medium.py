"""The medium: one broadcast channel in which sound takes its time, modems are half duplex, and frames overlap."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from simpy.events import Timeout

from toolkit.acoustic import kernel as phy
from toolkit.acoustic.channel import Channel, Floats
from toolkit.acoustic.fading import FastFading
from toolkit.acoustic.modem import Modem
from toolkit.acoustic.packets import Frame, PacketTracker
from toolkit.acoustic.trace import Trace
from toolkit.core.alarm import Alarm
from toolkit.core.world import World
from toolkit.errors import CausalityError

Listener = Callable[[Frame, float], None]
Interference = Literal["piecewise", "mean"]

COMPILE_AFTER = 4000
"""Receptions after which compiling the kernel pays; up to then the plain functions run, with the same results."""

DRAWS = 1024
"""Uniform numbers drawn at a time."""

_CUT_OFF = {phy.LOCKED: "in_flight", phy.CAPTURED: "collision", phy.ABORTED: "half_duplex"}


class Medium:
    """Carries frames between modems and charges both ends.

    A receiver pays for every frame that it locks on, from preamble to end, decoded or not, its own or overheard; it pays idle power
    the rest of the time. `tx_s` and `rx_s` are the seconds that each node has spent sending and receiving.

    All arrivals end on one alarm: it rings when the next one ends, and takes those with it that end before anything else is due.
    """

    def __init__(
        self, world: World, channel: Channel, modem: Modem, fading: FastFading, tracker: PacketTracker, *, count: int,
        interference: Interference = "piecewise",
    ) -> None:
        self._world = world
        self._env = world.env
        self._trace: Trace | None = None
        self._channel = channel
        self._modem = modem
        self._fading = fading
        self._tracker = tracker
        self._drop_reasons = tracker.drop_reasons
        self._count = count
        self._kernel = phy.PLAIN
        self._listeners: list[Listener] = [_deaf] * count
        self._uniform = world.streams.rng("decode")
        self._fades = world.streams.rng("fading")
        self._fade_rows = np.ones((0, count))
        self._fade_next = 0
        self._block = world.ledger.open_row_buffer("rx", tracker.drop_reasons.strings)
        success = modem.success_table()
        self._settings = np.concatenate([
            [10.0 ** (modem.detection_snr_db / 10.0), 10.0 ** (modem.capture_db / 10.0), 10.0 ** (modem.cca_snr_db / 10.0),
             modem.ebn0_db(0.0), success.low_db, success.step_db, 1.0 if interference == "piecewise" else 0.0, modem.rx_w, 0.0],
            success.log_rate,
        ])
        self._ring = np.zeros(8, dtype=np.int64)
        self._nodes = np.zeros((2, count))
        self._nodes[phy.LOCK] = -1.0
        self._draws = np.zeros(DRAWS)
        self._frames = np.zeros((phy.FIELDS, 0))
        self._water = np.zeros((3, count, 0))
        self._order = np.zeros((0, count), dtype=np.int32)
        self._status = np.zeros((count, 0), dtype=np.int8)
        self._carried: list[Frame] = []
        self._numbers: list[int] = []
        self._resize(32)
        self._sending_until_s = [0.0] * count
        self._alarm = Alarm(world.env, self._wake)
        self._wake_s = math.inf
        self.tx_s = [0.0] * count
        self.ends_s: dict[int, float] = {}
        """When nodes died that did not live to the end."""

    @property
    def rx_s(self) -> Floats:
        """Seconds that each node has spent receiving."""
        seconds: Floats = self._nodes[phy.RX_S]
        return seconds

    @property
    def trace(self) -> Trace | None:
        """An observer of every event, if there is one."""
        return self._trace

    @trace.setter
    def trace(self, trace: Trace | None) -> None:
        self._trace = trace
        self._ring[phy.TELL] = trace is not None

    @property
    def modem(self) -> Modem:
        """The modem that all nodes have."""
        return self._modem

    def listen(self, node: int, listener: Listener) -> None:
        """Call *listener* with (frame, measured SINR in dB) for every frame that *node* decodes."""
        self._listeners[node] = listener

    def intercept(self, node: int, look: Callable[[Frame], bool]) -> None:
        """Call *look* before *node*'s listener, with every decoded frame; the listener gets those for which it returns False."""
        listener = self._listeners[node]

        def first_look(frame: Frame, snr_db: float) -> None:
            if not look(frame):
                listener(frame, snr_db)

        self._listeners[node] = first_look

    def busy(self, node: int) -> bool:
        """Whether *node* senses a busy channel: it sends, it receives, or what has arrived here exceeds the carrier threshold."""
        now = self._env.now
        return self._sending_until_s[node] > now or bool(self._kernel.busy(node, now, *self._arrays()))

    def transmit(self, node: int, frame: Frame) -> Timeout:
        """Send *frame* from *node*; the event fires when the last bit has left.

        Raises:
            CausalityError: the node is still sending another frame.
        """
        now = self._env.now
        if self._sending_until_s[node] > now:
            raise CausalityError(f"node {node} starts a frame at {now} s while another leaves until {self._sending_until_s[node]} s")
        dur_s = self._modem.frame_s(frame.nbytes)
        self._sending_until_s[node] = now + dur_s
        sent_s = min(dur_s, self._world.duration_s - now)
        self.tx_s[node] += sent_s
        packet = frame.packet
        number = -1 if packet is None else packet.id
        self._world.ledger.charge(
            now, sent_s, node, frame.dst, "tx", phase=frame.kind, nbytes=frame.nbytes, energy_j=sent_s * self._modem.tx_w,
            outcome="sent", packet=number,
        )
        channel, fades = self._channel, self._next_fades()
        kind = self._block.strings.code(frame.kind)
        while True:
            row, receivers, due_s = self._kernel.send(
                now, dur_s, node, frame.dst, frame.nbytes, kind, number, channel.delay_s[node], channel.power[node], fades, *self._arrays()
            )
            if row >= 0:
                break
            self._resize(2 * len(self._carried))
        self._carried[row] = frame
        if packet is not None:
            self._tracker.hold(packet)
            if not receivers:
                packet.reason = "unheard"
        if self._trace is not None:
            self._numbers[row] = self._trace.sent(sent_s, node, frame, heard=receivers > 0)
        self._wake_by(due_s)
        return self._env.timeout(dur_s)

    def finish(self) -> None:
        """Charge receptions that the end of the run cuts off, and idle time, so that the states of each node fill the run."""
        end_s = self._world.duration_s
        rows = len(self._carried)
        arriving = self._frames[phy.DUE_ROW, : self._ring[phy.CALENDAR]].astype(int).tolist()
        for row in sorted(arriving, key=lambda row: (row - int(self._ring[phy.HEAD])) % rows):
            first, last = (int(self._frames[field, row]) for field in (phy.NEXT, phy.RECEIVERS))
            for node in self._order[row, first:last].tolist():
                self._kernel.settle(node, end_s, *self._arrays())
                outcome = _CUT_OFF.get(int(self._status[node, row]))
                if outcome is not None:
                    until_s = min(end_s, float(self._water[phy.HEARD_TO, node, row]))
                    self._charge_cut_off(node, row, until_s, outcome)
        for node, rx_s in enumerate(self.rx_s.tolist()):
            idle_s = max(0.0, self.ends_s.get(node, end_s) - self.tx_s[node] - rx_s)
            self._world.ledger.charge(0.0, idle_s, node, node, "idle", energy_j=idle_s * self._modem.idle_w)

    def _charge_cut_off(self, node: int, row: int, until_s: float, outcome: str) -> None:
        frame = self._carried[row]
        begin_s = float(self._water[phy.START, node, row])
        dur_s = max(0.0, until_s - begin_s)
        self._nodes[phy.RX_S, node] += dur_s
        self._world.ledger.charge(
            begin_s, dur_s, node, frame.src, "rx", phase=frame.kind, nbytes=frame.nbytes, energy_j=dur_s * self._modem.rx_w,
            outcome=outcome, packet=-1 if frame.packet is None else frame.packet.id,
        )
        if self._trace is not None:
            self._tell(self._trace, node, row, begin_s, dur_s, outcome=outcome, sinr_db=math.nan)

    def _tell(self, trace: Trace, node: int, row: int, begin_s: float, dur_s: float, *, outcome: str, sinr_db: float) -> None:
        snr = float(self._water[phy.POWER, node, row] / self._channel.noise[node])
        trace.received(
            begin_s, dur_s, node, self._numbers[row], self._carried[row], snr_db=10.0 * math.log10(snr), sinr_db=sinr_db, outcome=outcome,
        )

    def _wake(self, _: object) -> None:
        """Let the arrivals that are due end, one after the other, and those after them until something else is due."""
        env, drop_reasons, block = self._env, self._drop_reasons, self._block
        self._alarm.rearm()
        now = env.now
        if now >= self._wake_s:
            self._wake_s = math.inf
        while True:
            told, row, node, at_s, outcome, sinr_db, next_s = self._kernel.advance(
                now, env.peek(), *self._arrays(), self._draws, drop_reasons.codes, block.rows, block.tally
            )
            if told & (phy.TOLD | phy.OVER):
                now = float(at_s)
                env.move_to(now)
                frame = self._carried[row]
                if told & phy.TOLD:
                    if self._trace is not None:
                        line = self._block.rows[self._block.tally[0] - 1]
                        self._tell(
                            self._trace, node, row, float(line["t0_s"]), float(line["dur_s"]), outcome=phy.OUTCOMES[outcome],
                            sinr_db=float(sinr_db),
                        )
                    if outcome == phy.DELIVERED:
                        self._listeners[node](frame, sinr_db)
                if told & phy.OVER and frame.packet is not None:
                    self._tracker.drop(frame.packet, "")
                if next_s >= env.peek():
                    break
            elif not told:
                break
            elif told == phy.NO_ROOM:
                self._world.ledger.make_room()
            elif told == phy.NO_DRAWS:
                self._draws[:] = self._uniform.random(DRAWS)
                self._ring[phy.DRAWS] = DRAWS
            if self._kernel is phy.PLAIN and self._ring[phy.DECODED] >= COMPILE_AFTER:
                self._kernel = phy.compiled()
        if self._ring[phy.CALENDAR]:
            self._wake_by(float(self._frames[phy.DUE, 0]))

    def _wake_by(self, t_s: float) -> None:
        if t_s < self._wake_s:
            self._wake_s = t_s
            self._env.ring_at(t_s, self._alarm)

    def _arrays(self) -> tuple[Any, ...]:
        """What all functions of the kernel work on."""
        if self._packed[6] is not self._channel.noise:  # a new epoch
            self._pack()
        return self._packed

    def _pack(self) -> None:
        self._packed = (
            self._ring, self._frames, self._water, self._order, self._status, self._nodes, self._channel.noise, self._settings
        )

    def _next_fades(self) -> Floats:
        """Power gains of one frame at all receivers, drawn in batches."""
        if self._fade_next >= len(self._fade_rows):
            self._fade_rows = self._fading.power_gains(self._fades, (64, self._count))
            self._fade_next = 0
        self._fade_next += 1
        fades: Floats = self._fade_rows[self._fade_next - 1]
        return fades

    def _resize(self, rows: int) -> None:
        """Move the frames that are still needed to a ring of *rows* rows."""
        old = len(self._carried)
        head, tail, arriving = (int(self._ring[entry]) for entry in (phy.HEAD, phy.TAIL, phy.CALENDAR))
        live = [count % old for count in range(head, tail)]
        place = {float(row): float(new) for new, row in enumerate(live)}
        frames = np.zeros((phy.FIELDS, rows))
        frames[:, : len(live)] = self._frames[:, live]
        calendar = [phy.DUE, phy.DUE_TICKET, phy.DUE_ROW]
        frames[calendar, :arriving] = self._frames[calendar, :arriving]
        frames[phy.DUE_ROW, :arriving] = [place[row] for row in self._frames[phy.DUE_ROW, :arriving].tolist()]
        self._nodes[phy.LOCK] = [place.get(row, -1.0) for row in self._nodes[phy.LOCK].tolist()]
        self._frames = frames
        self._water = _moved(self._water, live, rows)
        self._status = _moved(self._status, live, rows)
        self._order = np.ascontiguousarray(_moved(self._order.T, live, rows).T)
        self._carried = [self._carried[row] for row in live] + [_NOTHING] * (rows - len(live))
        self._numbers = [self._numbers[row] for row in live] + [-1] * (rows - len(live))
        self._ring[[phy.HEAD, phy.TAIL]] = (0, len(live))
        self._pack()


_NOTHING = Frame("", -1, -1, 0)


def _moved(array: NDArray[Any], live: list[int], rows: int) -> NDArray[Any]:
    """The columns *live* of an array, followed by zeros up to *rows* columns."""
    moved = np.zeros((*array.shape[:-1], rows), dtype=array.dtype)
    moved[..., : len(live)] = array[..., live]
    return moved


def _deaf(frame: Frame, snr_db: float) -> None:
    """A node that nobody listens at."""
