"""The medium: one broadcast channel in which sound takes its time, modems are half duplex, and frames overlap."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

import numpy as np
from simpy.events import Timeout

from toolkit.acoustic.packets import Frame, Packet, PacketTracker
from toolkit.acoustic.phy import kernel as phy
from toolkit.acoustic.phy.channel import Channel, Floats
from toolkit.acoustic.phy.fading import FastFading
from toolkit.acoustic.phy.kernel import DECODED, IDLE, NO_ROWS, OVER, SEEN_DECODED, SEEN_FAILED
from toolkit.acoustic.phy.modem import Modem
from toolkit.acoustic.phy.room import DRAWS, ROWS, Interference, RoomKeeper
from toolkit.core.alarm import Alarm
from toolkit.core.world import World
from toolkit.errors import CausalityError

Listener = Callable[[Frame, float], None]

COMPILE_AFTER = 4000
"""Receptions after which compiling the kernel pays; up to then the plain functions run, with the same results."""

LOAD_AFTER = 100
"""The same where it was compiled before and only has to be loaded."""

MUTED_PACKETS = 64
"""Packets at least that nodes can have muted at the same time; what does not fit is told to the protocol, which knows it too."""

_CUT_OFF = {phy.LOCKED: "in_flight", phy.CAPTURED: "collision", phy.ABORTED: "half_duplex"}


class Observer(Protocol):
    """Who is told of everything that the medium does; `toolkit.acoustic.trace.Trace` is one. Frames are numbered as they are sent."""

    def sent(self, number: int, dur_s: float, node: int, frame: Frame, *, heard: bool) -> None:
        """A transmission begins; *heard* where a modem could lock on it."""

    def received(
        self, t_s: float, dur_s: float, node: int, number: int, frame: Frame, *, snr_db: float, sinr_db: float, outcome: str
    ) -> None:
        """The arrival of frame *number* at *node*, which began at *t_s*, has ended. *sinr_db* is NaN if it was not heard to its end."""


class Nobody:
    """The observer where there is none."""

    def sent(self, number: int, dur_s: float, node: int, frame: Frame, *, heard: bool) -> None: ...

    def received(
        self, t_s: float, dur_s: float, node: int, number: int, frame: Frame, *, snr_db: float, sinr_db: float, outcome: str
    ) -> None: ...


_NOBODY = Nobody()


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
        self._ahead = world.env.ahead
        self._observer: Observer = _NOBODY
        self._channel = channel
        self._modem = modem
        self._tracker = tracker
        self._count = count
        self._listeners: list[Listener] = [_deaf] * count
        self._intercepted: set[int] = set()
        self._uniform = world.streams.rng("decode")
        self._block = world.ledger.open_row_buffer(tracker.drop_reasons.strings)
        self._keeper = RoomKeeper(
            channel, modem, fading, world.streams.rng("fading"), count=count, duration_s=world.duration_s, interference=interference,
            reasons=tracker.drop_reasons, block=self._block,
        )
        self._kinds: dict[str, int] = {}
        self._airtime_s: dict[int, float] = {}
        self._sending_until_s = [0.0] * count
        self._alarm = Alarm(world.env, self._wake)
        self._wake_s = math.inf
        self._carried: list[Frame] = [_NOTHING] * ROWS
        self._may_compile = True
        self._mute_slots = self._packets = 0
        self.ends_s: dict[int, float] = {}
        """When nodes died that did not live to the end."""

    @property
    def rx_s(self) -> Floats:
        """Seconds that each node has spent receiving."""
        seconds: Floats = self._keeper.room.nodes["rx_s"]
        return seconds

    @property
    def tx_s(self) -> Floats:
        """Seconds that each node has spent sending."""
        seconds: Floats = self._keeper.room.nodes["tx_s"]
        return seconds

    def observe(self, observer: Observer) -> None:
        """Tell *observer* of every transmission and every reception from now on."""
        self._observer = observer
        self._keeper.room.settings["observed"] = True

    @property
    def count(self) -> int:
        """How many nodes there are, sinks included."""
        return self._count

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
        self._intercepted.add(node)

    def ignore(self, node: int, packet: int, until_s: float) -> None:
        """Call *node*'s listener with no frame of *packet* that it decodes up to *until_s*: its protocol would not act on it.

        The reception costs what it costs, and is in the ledger. A node whose MAC looks at every frame goes on hearing all of them, and one
        that ignores many packets at a time may still be told of some.
        """
        if node in self._intercepted:
            return
        if not self._mute_slots:
            self._mute_slots = max(MUTED_PACKETS, 8192 // self._count)
            muted = np.full((self._mute_slots, self._count), -1, dtype=phy.MUTED)
            self._muted_packets, self._muted_until_s = muted["packet"], muted["until_s"]
            self._keeper.replace(muted=muted)
        slot = packet % self._mute_slots
        self._muted_packets[slot, node] = packet
        self._muted_until_s[slot, node] = until_s

    def deafen(self, node: int) -> None:
        """Let *node* hear nothing any more in this epoch: its noise in the channel has become deafening."""
        self._keeper.take_noise(node)

    def busy(self, node: int) -> bool:
        """Whether *node* senses a busy channel: it sends, it receives, or what has arrived here exceeds the carrier threshold."""
        now = self._env.now
        return self._sending_until_s[node] > now or bool(self._keeper.kernel.busy(node, now, self._keeper.where()))

    def transmit(self, node: int, frame: Frame) -> Timeout:
        """Send *frame* from *node*; the event fires when the last bit has left. Errors are those of `begin`."""
        return self._env.timeout(self.begin(node, frame))

    def begin(self, node: int, frame: Frame) -> float:
        """Begin to send *frame* from *node*; return how many seconds that takes.

        Raises:
            CausalityError: the node is still sending another frame.
        """
        now = self._env.now
        if self._sending_until_s[node] > now:
            raise CausalityError(f"node {node} starts a frame at {now} s while another leaves until {self._sending_until_s[node]} s")
        nbytes, packet = frame.nbytes, frame.packet
        dur_s = self._airtime_s.get(nbytes)
        if dur_s is None:
            dur_s = self._airtime_s[nbytes] = self._modem.frame_s(nbytes)
        self._sending_until_s[node] = now + dur_s
        number = -1
        if packet is not None:
            number = packet.id
            if number >= self._packets:
                self._keeper.more_packets(number)
                self._packets = len(self._keeper.room.afloat)
        kind = self._kinds.get(frame.kind)
        if kind is None:
            kind = self._kinds[frame.kind] = self._block.strings.code(frame.kind)
        keeper = self._keeper
        where = keeper.where()
        while True:
            row, hearers, first, due_s = keeper.kernel.send(now, dur_s, node, frame.dst, nbytes, kind, number, where)
            if row >= 0:
                break
            self._provide(row)
            where = keeper.given
        self._carried[row % len(self._carried)] = frame
        if packet is not None:
            if first:  # the water holds one copy, however many frames carry it
                self._tracker.hold(packet)
            if not hearers:
                packet.reason = "unheard"
        if self._observer is not _NOBODY:
            self._observer.sent(row, dur_s, node, frame, heard=hearers > 0)
        if due_s < self._wake_s:
            self._wake_s = due_s
            self._env.ring_at(due_s, self._alarm)
        return dur_s

    def carry(self, node: int, packet: Packet, frame: Frame, ways_s: Mapping[int, float], arrive: Callable[[int], None]) -> None:
        """Charge a *frame* with *packet* to *node*, and to receivers as if it reached each of them for certain, so much later.

        *arrive* is called with each receiver when it has. The water holds a copy meanwhile.
        """
        dur_s, modem = self._modem.frame_s(frame.nbytes), self._modem
        self._charge_certain(node, frame.dst, "tx", self._env.now, dur_s, power_w=modem.tx_w, frame=frame, packet=packet)
        for receiver, way_s in ways_s.items():
            self._charge_certain(receiver, node, "rx", self._env.now + way_s, dur_s, power_w=modem.rx_w, frame=frame, packet=packet)
            self._tracker.hold(packet)
            self._env.call_in(way_s + dur_s, partial(self._certain, receiver, packet, arrive))

    def _certain(self, receiver: int, packet: Packet, arrive: Callable[[int], None], _: object) -> None:
        arrive(receiver)
        self._tracker.drop(packet, "")

    def _charge_certain(
        self, node: int, peer: int, kind: str, begin_s: float, dur_s: float, *, power_w: float, frame: Frame, packet: Packet
    ) -> None:
        last_s = max(0.0, min(dur_s, self._world.duration_s - begin_s))
        self._keeper.room.nodes[f"{kind}_s"][node] += last_s
        self._world.ledger.charge(
            begin_s, last_s, node, peer, kind, phase=frame.kind, nbytes=frame.nbytes, energy_j=last_s * power_w,
            outcome="sent" if kind == "tx" else "delivered", packet=packet.id,
        )

    def finish(self) -> None:
        """Charge receptions that the end of the run cuts off, and idle time, so that the states of each node fill the run."""
        end_s = self._world.duration_s
        room = self._keeper.room
        for number in sorted(room.queue["frame"][: room.state["due"][0]].tolist()):
            row = number % len(self._carried)
            heard, hearers = int(room.frames["heard"][row]), int(room.frames["hearers"][row])
            for node in room.hearers["node"][row, heard:hearers].tolist():
                self._keeper.kernel.settle(node, end_s, self._keeper.where())
                arrival = self._arrival(node, number)
                outcome = _CUT_OFF.get(int(arrival["state"]))
                if outcome is not None:
                    until_s = min(end_s, float(arrival["until_s"]))
                    self._charge_cut_off(node, number, float(arrival["start_s"]), until_s, outcome)
        for node, (tx_s, rx_s) in enumerate(zip(self.tx_s.tolist(), self.rx_s.tolist(), strict=True)):
            idle_s = max(0.0, self.ends_s.get(node, end_s) - tx_s - rx_s)
            self._world.ledger.charge(0.0, idle_s, node, node, "idle", energy_j=idle_s * self._modem.idle_w)

    def _arrival(self, node: int, number: int) -> Any:
        """What arrives at *node* of frame *number*."""
        room = self._keeper.room
        arrivals = room.arrivals[node, : room.nodes["arrivals"][node]]
        return arrivals[(arrivals["frame"] == number).argmax()]

    def _charge_cut_off(self, node: int, number: int, begin_s: float, until_s: float, outcome: str) -> None:
        frame = self._carried[number % len(self._carried)]
        dur_s = max(0.0, until_s - begin_s)
        self._keeper.room.nodes["rx_s"][node] += dur_s
        self._world.ledger.charge(
            begin_s, dur_s, node, frame.src, "rx", phase=frame.kind, nbytes=frame.nbytes, energy_j=dur_s * self._modem.rx_w,
            outcome=outcome, packet=-1 if frame.packet is None else frame.packet.id,
        )
        self._observer.received(
            begin_s, dur_s, node, number, frame, snr_db=self._snr_db(node, number), sinr_db=math.nan, outcome=outcome
        )

    def _snr_db(self, node: int, number: int) -> float:
        """How far frame *number* is above the noise at *node*, without interference."""
        return 10.0 * math.log10(self._keeper.power(node, number % len(self._carried)) / float(self._channel.noise[node]))

    def _show(self, node: int, number: int, sinr_db: float) -> None:
        """Tell the observer of the reception whose row was written last."""
        row = self._block.rows[self._block.tally[0] - 1]
        self._observer.received(
            float(row["t0_s"]), float(row["dur_s"]), node, number, self._carried[number % len(self._carried)],
            snr_db=self._snr_db(node, number), sinr_db=sinr_db, outcome=phy.OUTCOMES[row["outcome"]],
        )

    def _wake(self, _: object) -> None:
        """Let the arrivals that are due end, one after the other, and those after them until something else is due."""
        env, ahead, alarm = self._env, self._ahead, self._alarm
        alarm.callbacks = alarm.actions
        now = env.now
        if now >= self._wake_s:
            self._wake_s = math.inf
        if self._may_compile:
            self._compile()
        keeper = self._keeper
        advance = keeper.kernel.advance
        keeper.where()  # neither epoch nor packets change while this goes on
        while True:
            told, number, node, over, at_s, sinr_db, next_s = advance(now, ahead[0][0] if ahead else math.inf, keeper.given)
            if told == IDLE:
                break
            if told >= OVER:
                now = at_s
                env.move_to(now)
                frame = self._carried[number % len(self._carried)]
                if told >= SEEN_FAILED:
                    self._show(node, number, sinr_db)
                if told in (DECODED, SEEN_DECODED):
                    self._listeners[node](frame, sinr_db)
                if over and frame.packet is not None:
                    self._tracker.drop(frame.packet, "")
                if ahead and next_s >= ahead[0][0]:
                    break
            elif told == NO_ROWS:
                self._world.ledger.make_room()
            else:
                keeper.room.draws[:] = self._uniform.random(DRAWS)
                keeper.room.state["draws"] = DRAWS
        if next_s < self._wake_s:
            self._wake_s = next_s
            env.ring_at(next_s, alarm)

    def use(self, kernel: phy.Kernel) -> None:
        """Decide with one form of the kernel from now on."""
        self._keeper.use(kernel)
        self._may_compile = False

    def _compile(self) -> None:
        """Go over to the compiled functions as soon as that pays."""
        decoded = self._keeper.room.state["decoded"][0]
        if decoded >= COMPILE_AFTER or (decoded >= LOAD_AFTER and phy.is_at_hand()):
            self.use(phy.compiled())

    def _provide(self, wanted: int) -> None:
        """Let there be what the kernel wants before it can send a frame."""
        if wanted == phy.NO_ROW:
            self._world.ledger.make_room()
        elif wanted == phy.NO_FADES:
            self._keeper.more_fades()
        elif wanted == phy.NO_ARRIVAL:
            self._keeper.more_arrivals()
        elif wanted == phy.NO_CROWD:
            self._keeper.more_crowd()
        else:
            live = self._keeper.live().tolist()
            carried = [_NOTHING] * (2 * len(self._carried))
            for number in live:
                carried[number % len(carried)] = self._carried[number % len(self._carried)]
            self._carried = carried
            self._keeper.more_rows()


_NOTHING = Frame("", -1, -1, 0)


def _deaf(frame: Frame, snr_db: float) -> None:
    """A node that nobody listens at."""
