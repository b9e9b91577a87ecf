"""The medium: one broadcast channel in which sound takes its time, modems are half duplex, and frames overlap."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, TypeVar

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
T = TypeVar("T")

COMPILE_AFTER = 4000
"""Receptions after which compiling the kernel pays; up to then the plain functions run, with the same results."""

LOAD_AFTER = 100
"""The same where it was compiled before and only has to be loaded."""

ROWS, PLACES = 32, 8
"""Frames that there is room for at first, and arrivals at one node."""

DRAWS, FADES = 1024, 64
"""Uniform numbers drawn at a time, and frames whose fades are."""

MUTED_PACKETS = 64
"""Packets at least that nodes can have muted at the same time; what does not fit is told to the protocol, which knows it too."""

PLACE = ("x_m", "y_m", "z_m")
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
        self._ahead = world.env.ahead
        self._trace: Trace | None = None
        self._channel = channel
        self._modem = modem
        self._tracker = tracker
        self._drop_reasons = tracker.drop_reasons
        self._count = count
        self._listeners: list[Listener] = [_deaf] * count
        self._intercepted: set[int] = set()
        self._uniform = world.streams.rng("decode")
        self._fading = fading
        self._fades = world.streams.rng("fading")
        self._block = world.ledger.open_row_buffer(tracker.drop_reasons.strings)
        self._kinds: dict[str, int] = {}
        self._airtime_s: dict[int, float] = {}
        self._sending_until_s = [0.0] * count
        self._alarm = Alarm(world.env, self._wake)
        self._wake_s = math.inf
        self._carried: list[Frame] = [_NOTHING] * ROWS
        self._numbers: list[int] = [-1] * ROWS
        self._room = self._open_room(interference)
        self._kernel = phy.PLAIN
        self._may_compile = True
        self._slots = self._mute_slots = 0
        self._noise: Floats | None = None
        self._step_m = 0.0
        self._epochs = 0
        self._begun: dict[int, int] = {}
        self._replace()

    def _open_room(self, interference: Interference) -> phy.Room:
        """The kernel's records, empty."""
        modem, success, count = self._modem, self._modem.success_table(), self._count
        code = self._block.strings.code
        settings = np.zeros(1, dtype=phy.SETTINGS)
        for name, value in {
            "detect": 10.0 ** (modem.detection_snr_db / 10.0), "capture": 10.0 ** (modem.capture_db / 10.0),
            "carrier": 10.0 ** (modem.cca_snr_db / 10.0), "ebn0_gain_db": modem.ebn0_db(0.0), "table_low_db": success.low_db,
            "table_step_db": success.step_db, "tx_w": modem.tx_w, "rx_w": modem.rx_w, "end_s": self._world.duration_s,
            "speed_m_s": self._channel.sound_speed_m_s,
            "piecewise": interference == "piecewise", "tx": code("tx"), "rx": code("rx"), "sent": code("sent"),
        }.items():
            settings[name] = value
        floats = np.zeros((0, count))
        width = count if self._fading.kind != "none" else 0
        nodes = np.zeros(count, dtype=phy.NODE)
        nodes["locked"] = -1
        return phy.Room(
            state=np.zeros(1, dtype=phy.STATE), settings=settings, table=np.ascontiguousarray(success.log_rate),
            flights=np.zeros(ROWS, dtype=phy.FLIGHT), frames=np.zeros(ROWS, dtype=phy.FRAME),
            hearers=np.zeros((ROWS, count), dtype=phy.HEARER), fades=np.zeros((ROWS, width)), supply=np.zeros(0),
            queue=np.zeros(ROWS, dtype=phy.DUE), nodes=nodes, arrivals=np.zeros((count, PLACES), dtype=phy.ARRIVAL),
            near=np.zeros(ROWS, dtype=phy.NEAR), delay_s=floats, drift=floats, gain=floats, draws=np.zeros(DRAWS),
            reasons=self._drop_reasons.codes, afloat=np.zeros(256, dtype=np.int32), muted=np.zeros((0, count), dtype=phy.MUTED),
            rows=self._block.rows, tally=self._block.tally,
        )

    @property
    def rx_s(self) -> Floats:
        """Seconds that each node has spent receiving."""
        seconds: Floats = self._room.nodes["rx_s"]
        return seconds

    @property
    def tx_s(self) -> Floats:
        """Seconds that each node has spent sending."""
        seconds: Floats = self._room.nodes["tx_s"]
        return seconds

    @property
    def trace(self) -> Trace | None:
        """An observer of every event, if there is one."""
        return self._trace

    @trace.setter
    def trace(self, trace: Trace | None) -> None:
        self._trace = trace
        self._room.settings["observed"] = trace is not None

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
            self._mute_slots = max(MUTED_PACKETS, 65_536 // self._count)
            self._replace(muted=np.full((self._mute_slots, self._count), -1, dtype=phy.MUTED))
        slot = packet % self._mute_slots
        self._muted_packets[slot, node] = packet
        self._muted_until_s[slot, node] = until_s

    def busy(self, node: int) -> bool:
        """Whether *node* senses a busy channel: it sends, it receives, or what has arrived here exceeds the carrier threshold."""
        now = self._env.now
        return self._sending_until_s[node] > now or bool(self._kernel.busy(node, now, self._where()))

    def transmit(self, node: int, frame: Frame) -> Timeout:
        """Send *frame* from *node*; the event fires when the last bit has left.

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
            if number >= len(self._room.afloat):
                self._replace(afloat=np.concatenate([self._room.afloat, np.zeros(number + 256, dtype=np.int32)]))
        kind = self._kinds.get(frame.kind)
        if kind is None:
            kind = self._kinds[frame.kind] = self._block.strings.code(frame.kind)
        while True:
            row, hearers, first, due_s = self._kernel.send(now, dur_s, node, frame.dst, nbytes, kind, number, self._where())
            if row >= 0:
                break
            self._provide(row)
        self._carried[row % len(self._carried)] = frame
        if packet is not None:
            if first:  # the water holds one copy, however many frames carry it
                self._tracker.hold(packet)
            if not hearers:
                packet.reason = "unheard"
        if self._trace is not None:
            sent_s = min(dur_s, self._world.duration_s - now)
            self._numbers[row % len(self._numbers)] = self._trace.sent(sent_s, node, frame, heard=hearers > 0)
        if due_s < self._wake_s:
            self._wake_s = due_s
            self._env.ring_at(due_s, self._alarm)
        return self._env.timeout(dur_s)

    def finish(self) -> None:
        """Charge receptions that the end of the run cuts off, and idle time, so that the states of each node fill the run."""
        end_s = self._world.duration_s
        room = self._room
        for number in sorted(room.queue["frame"][: room.state["due"][0]].tolist()):
            row = number % len(self._carried)
            heard, hearers = int(room.frames["heard"][row]), int(room.frames["hearers"][row])
            for node in room.hearers["node"][row, heard:hearers].tolist():
                self._kernel.settle(node, end_s, self._where())
                arrival = self._arrival(node, number)
                outcome = _CUT_OFF.get(int(arrival["state"]))
                if outcome is not None:
                    until_s = min(end_s, float(arrival["until_s"]))
                    self._charge_cut_off(node, number, float(arrival["start_s"]), until_s, outcome)
        for node, (tx_s, rx_s) in enumerate(zip(self.tx_s.tolist(), self.rx_s.tolist(), strict=True)):
            idle_s = end_s - tx_s - rx_s
            self._world.ledger.charge(0.0, idle_s, node, node, "idle", energy_j=idle_s * self._modem.idle_w)

    def _arrival(self, node: int, number: int) -> Any:
        """What arrives at *node* of frame *number*."""
        arrivals = self._room.arrivals[node, : self._room.nodes["arrivals"][node]]
        return arrivals[(arrivals["frame"] == number).argmax()]

    def _power(self, node: int, row: int) -> float:
        """How strongly the frame in *row* arrives at *node*."""
        room = self._room
        power = room.gain[room.flights["slot"][row] * self._count + room.flights["src"][row], node]
        return float(power * room.fades[row, node] if room.fades.shape[1] else power)

    def _charge_cut_off(self, node: int, number: int, begin_s: float, until_s: float, outcome: str) -> None:
        frame = self._carried[number % len(self._carried)]
        dur_s = max(0.0, until_s - begin_s)
        self._room.nodes["rx_s"][node] += dur_s
        self._world.ledger.charge(
            begin_s, dur_s, node, frame.src, "rx", phase=frame.kind, nbytes=frame.nbytes, energy_j=dur_s * self._modem.rx_w,
            outcome=outcome, packet=-1 if frame.packet is None else frame.packet.id,
        )
        if self._trace is not None:
            self._tell(self._trace, node, number, begin_s, dur_s, outcome=outcome, sinr_db=math.nan)

    def _tell(self, trace: Trace, node: int, number: int, begin_s: float, dur_s: float, *, outcome: str, sinr_db: float) -> None:
        row = number % len(self._carried)
        snr = self._power(node, row) / float(self._channel.noise[node])
        trace.received(
            begin_s, dur_s, node, self._numbers[row], self._carried[row], snr_db=10.0 * math.log10(snr), sinr_db=sinr_db, outcome=outcome,
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
        advance = self._kernel.advance
        self._where()  # neither epoch nor packets change while this goes on
        while True:
            told, number, node, over, at_s, sinr_db, next_s = advance(now, ahead[0][0] if ahead else math.inf, self._given)
            if told >= phy.OVER:
                now = at_s
                env.move_to(now)
                frame = self._carried[number % len(self._carried)]
                if told != phy.OVER:
                    if self._trace is not None:
                        line = self._block.rows[self._block.tally[0] - 1]
                        self._tell(
                            self._trace, node, number, float(line["t0_s"]), float(line["dur_s"]),
                            outcome=phy.OUTCOMES[line["outcome"]], sinr_db=sinr_db,
                        )
                    if told == phy.DECODED:
                        self._listeners[node](frame, sinr_db)
                if over and frame.packet is not None:
                    self._tracker.drop(frame.packet, "")
                if ahead and next_s >= ahead[0][0]:
                    break
            elif told == phy.IDLE:
                break
            elif told == phy.NO_ROWS:
                self._world.ledger.make_room()
            else:
                self._room.draws[:] = self._uniform.random(DRAWS)
                self._room.state["draws"] = DRAWS
        if next_s < self._wake_s:
            self._wake_s = next_s
            env.ring_at(next_s, alarm)

    def use(self, kernel: phy.Kernel) -> None:
        """Decide with one form of the kernel from now on."""
        self._kernel = kernel
        self._may_compile = False
        self._given = kernel.where(self._room)

    def _compile(self) -> None:
        """Go over to the compiled functions as soon as that pays."""
        decoded = self._room.state["decoded"][0]
        if decoded >= COMPILE_AFTER or (decoded >= LOAD_AFTER and phy.is_at_hand()):
            self.use(phy.compiled())

    def _where(self) -> Any:
        """What all functions of the kernel are given."""
        if self._noise is not self._channel.noise:
            self._enter_epoch()
        if self._room.reasons is not self._drop_reasons.codes:
            self._replace(reasons=self._drop_reasons.codes)
        return self._given

    def _enter_epoch(self) -> None:
        """Take over levels, delays and noise of the present epoch."""
        channel, room, count = self._channel, self._room, self._count
        moved_m = channel.step_m
        if self._noise is not None:
            old_m = np.stack([room.nodes[name] for name in PLACE], axis=1)
            moved_m = max(moved_m, float(np.sqrt(((channel.position_m - old_m) ** 2).sum(axis=1)).max()))
        self._step_m = max(self._step_m, moved_m)
        self._noise = channel.noise
        room.nodes["noise"] = channel.noise
        room.nodes["least"] = room.settings["detect"] * channel.noise
        room.nodes["farthest_s"] = channel.delay_s.max(axis=1, initial=0.0) + 2.0 * self._step_m / channel.sound_speed_m_s
        for axis, name in enumerate(PLACE):
            room.nodes[name] = channel.position_m[:, axis]
        live = np.arange(room.state["oldest"][0], room.state["next"][0]) % len(room.flights)
        used = set(room.flights["slot"][live].tolist())
        slot = self._free_slot(used)
        if channel.drift is not None and not len(self._room.drift):
            self._replace(drift=np.zeros_like(self._room.delay_s))
        room = self._room
        here = slice(slot * count, (slot + 1) * count)
        room.delay_s[here] = channel.delay_s
        room.gain[here] = channel.power
        if len(room.drift):
            room.drift[here] = 0.0 if channel.drift is None else channel.drift
        self._epochs += 1
        self._begun[slot] = self._epochs
        passed = self._epochs - min((self._begun[old] for old in used), default=self._epochs)
        room.state["slot"], room.state["epoch_s"] = slot, channel.t_s
        room.state["slack_m"] = 1.0 + (2 + passed) * self._step_m

    def _free_slot(self, used: set[int]) -> int:
        """A place for the channel of one more epoch, which no frame in the water needs."""
        free = sorted(set(range(self._slots)) - used)
        if free:
            return free[0]
        room, more = self._room, np.zeros((self._count, self._count))
        self._slots += 1
        wider = {name: np.concatenate([getattr(room, name), more]) for name in ("delay_s", "gain")}
        if len(room.drift):
            wider["drift"] = np.concatenate([room.drift, more])
        self._replace(**wider)
        return self._slots - 1

    def _replace(self, **arrays: NDArray[Any]) -> None:
        """Let the room have other arrays."""
        self._room = self._room._replace(**arrays)
        self._muted_packets, self._muted_until_s = self._room.muted["packet"], self._room.muted["until_s"]
        self._given = self._kernel.where(self._room)

    def _provide(self, wanted: int) -> None:
        """Let there be room for one more frame, for more arrivals at a node, for more rows; or fades for more frames."""
        room = self._room
        if wanted == phy.NO_ROW:
            self._world.ledger.make_room()
        elif wanted == phy.NO_FADES:
            room.state["fades"] = 0
            self._replace(supply=self._fading.power_gains(self._fades, FADES * self._count))
        elif wanted == phy.NO_ARRIVAL:
            self._replace(arrivals=np.concatenate([room.arrivals, np.zeros_like(room.arrivals)], axis=1))
        else:
            rows = len(room.frames)
            live = np.arange(room.state["oldest"][0], room.state["next"][0])
            wider = {}
            for name in ("flights", "frames", "hearers", "fades", "queue", "near"):
                narrow = getattr(room, name)
                wider[name] = np.concatenate([narrow, np.zeros_like(narrow)])
                if name not in ("queue", "near"):
                    wider[name][live % (2 * rows)] = narrow[live % rows]
            self._carried = _moved(self._carried, live.tolist(), _NOTHING)
            self._numbers = _moved(self._numbers, live.tolist(), -1)
            self._replace(**wider)


_NOTHING = Frame("", -1, -1, 0)


def _moved(kept: list[T], live: list[int], empty: T) -> list[T]:
    """A ring twice as long that has the entries of the frames *live*."""
    moved = [empty] * (2 * len(kept))
    for number in live:
        moved[number % len(moved)] = kept[number % len(kept)]
    return moved


def _deaf(frame: Frame, snr_db: float) -> None:
    """A node that nobody listens at."""
