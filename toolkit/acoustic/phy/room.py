"""The keeper of the physical layer's records: makes them, lets them grow, and lays the channel of every epoch into them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from toolkit.acoustic.packets import DropReasons
from toolkit.acoustic.phy import kernel as phy
from toolkit.acoustic.phy.channel import Channel, Floats
from toolkit.acoustic.phy.fading import FastFading
from toolkit.acoustic.phy.modem import Modem
from toolkit.acoustic.phy.wide import WideChannel
from toolkit.core.row_buffer import RowBuffer

Interference = Literal["piecewise", "mean"]

ROWS, PLACES = 32, 8
"""Frames that there is room for at first, and arrivals at one node."""

DRAWS, FADES = 1024, 64
"""Uniform numbers drawn at a time, and frames whose fades are."""

PLACE = ("x_m", "y_m", "z_m")
SENT = ("sent_s", "sent_for_s", "sent_x_m", "sent_y_m", "sent_z_m", "sent_frame")


class RoomKeeper:
    """Holds the `room` of one run, and what the kernel is `given` of it, as it is at present."""

    def __init__(
        self, channel: Channel, modem: Modem, fading: FastFading, rng: np.random.Generator, *, count: int, duration_s: float,
        interference: Interference, reasons: DropReasons, block: RowBuffer,
    ) -> None:
        self._channel = channel
        self._fading = fading
        self._rng = rng
        self._count = count
        self._reasons = reasons
        self._wide = isinstance(channel, WideChannel)
        self._slots = 0
        self._noise: Floats | None = None
        self._step_m = 0.0
        self._epochs = 0
        self._begun: dict[int, int] = {}
        self.kernel = phy.PLAIN
        self.room = self._empty(self._settings(modem, interference, duration_s, block), modem, block)
        self.given: Any
        self._renew()

    def _settings(self, modem: Modem, interference: Interference, duration_s: float, block: RowBuffer) -> NDArray[Any]:
        success, code = modem.success_table(), block.strings.code
        settings = np.zeros(1, dtype=phy.SETTINGS)
        for name, value in {
            "detect": 10.0 ** (modem.detection_snr_db / 10.0), "capture": 10.0 ** (modem.capture_db / 10.0),
            "carrier": 10.0 ** (modem.cca_snr_db / 10.0), "ebn0_gain_db": modem.ebn0_db(0.0), "table_low_db": success.low_db,
            "table_step_db": success.step_db, "tx_w": modem.tx_w, "rx_w": modem.rx_w, "end_s": duration_s,
            "speed_m_s": self._channel.sound_speed_m_s, "piecewise": interference == "piecewise",
            "tx": code("tx"), "rx": code("rx"), "sent": code("sent"),
        }.items():
            settings[name] = value
        return settings

    def _empty(self, settings: NDArray[Any], modem: Modem, block: RowBuffer) -> phy.Room:
        count = self._count
        width = 0 if self._wide else count
        links = {name: np.zeros((0, columns), dtype=getattr(phy.LAYOUT, name)) for name, columns in (
            ("reach", count + 1), ("target", 0), ("power", 0), ("strong", count + 1), ("strong_target", 0), ("strong_power", 0),
        )}
        fade = width if self._fading.kind != "none" else 0
        nodes = np.zeros(count, dtype=phy.NODE)
        nodes["locked"] = -1
        matrix = np.zeros((0, count))
        return phy.Room(
            state=np.zeros(1, dtype=phy.STATE), settings=settings, table=np.ascontiguousarray(modem.success_table().log_rate),
            flights=np.zeros(ROWS, dtype=phy.FLIGHT), frames=np.zeros(ROWS, dtype=phy.FRAME),
            hearers=np.zeros((ROWS, max(1, fade)), dtype=phy.HEARER), fades=np.zeros((ROWS, fade)), supply=np.zeros(0),
            queue=np.zeros(ROWS, dtype=phy.DUE), nodes=nodes, arrivals=np.zeros((count, PLACES), dtype=phy.ARRIVAL),
            near=np.zeros(ROWS, dtype=phy.NEAR), delay_s=matrix, drift=matrix, gain=matrix, place=np.zeros((0, 6)), span_s=np.zeros(0),
            **links,
            beside=np.array([[0] + 8 * [-1]]), **{name: np.zeros((1, ROWS), dtype=getattr(phy.LAYOUT, name)) for name in SENT},
            crowds=np.zeros((1, 2), dtype=np.int64), hits=np.zeros(phy.BLOCK, dtype=np.uint8),
            draws=np.zeros(DRAWS), reasons=self._reasons.codes,
            afloat=np.zeros(256, dtype=np.int32), muted=np.zeros((0, count), dtype=phy.MUTED),
            rows=block.rows, tally=block.tally,
        )

    def use(self, kernel: phy.Kernel) -> None:
        """Let what is given be what this form of the kernel takes."""
        self.kernel = kernel
        self._renew()

    def _renew(self) -> None:
        self.given, self._kept = self.kernel.where(self.room)

    def where(self) -> Any:
        """What all functions of the kernel are given, after a look at channel and packets, which may have moved on."""
        if self._noise is not self._channel.noise:
            self._enter_epoch()
        if self.room.reasons is not self._reasons.codes:
            self.replace(reasons=self._reasons.codes)
        return self.given

    def replace(self, **arrays: NDArray[Any]) -> None:
        """Let the room have other arrays."""
        self.room = self.room._replace(**arrays)
        self._renew()

    def live(self) -> NDArray[np.int64]:
        """Numbers of the frames that are kept."""
        return np.arange(self.room.state["oldest"][0], self.room.state["next"][0])

    def more_rows(self) -> None:
        """Let there be room for twice as many frames."""
        room, rows, live, wider = self.room, len(self.room.frames), self.live(), {}
        for name in ("flights", "frames", "hearers", "fades", "queue", "near"):
            narrow = getattr(room, name)
            wider[name] = np.concatenate([narrow, np.zeros_like(narrow)])
            if name not in ("queue", "near"):
                wider[name][live % (2 * rows)] = narrow[live % rows]
        self.replace(**wider)

    def more_crowd(self) -> None:
        """Let there be room for twice as many frames that are in the water from one cell."""
        self._gather(2 * self.room.sent_s.shape[1])

    def _gather(self, many: int = 0) -> None:
        """Sort the frames in the water by the present cells of their senders, with room for *many* in each at least."""
        room = self.room
        width = room.sent_s.shape[1]
        first, count = room.crowds[:, 0], room.crowds[:, 1] - room.crowds[:, 0]
        old_cells = np.repeat(np.arange(len(room.crowds)), count)
        places = (np.arange(len(old_cells)) - np.repeat(np.cumsum(count) - count - first, count)) % width
        old = {name: getattr(room, name)[old_cells, places] for name in SENT}
        number = old["sent_frame"]
        order = np.argsort(number)
        order = order[number[order] >= room.state["oldest"]]
        cells = room.nodes["cell"][room.flights["src"][number[order] % len(room.flights)]]
        counts = np.bincount(cells, minlength=len(room.beside))
        many = max(many, width, 1 << int(counts.max()).bit_length())
        by_cell = np.argsort(cells, kind="stable")
        order, cells = order[by_cell], cells[by_cell]
        new = np.arange(len(cells)) - np.repeat(np.cumsum(counts) - counts, counts)
        crowds = np.zeros((len(room.beside), 2), dtype=np.int64)
        crowds[:, 1] = counts
        wider = {name: np.zeros((len(room.beside), many), dtype=column.dtype) for name, column in old.items()}
        for name, column in old.items():
            wider[name][cells, new] = column[order]
        self.replace(**wider, crowds=crowds)

    def more_arrivals(self) -> None:
        """Let there be room for twice as many arrivals at one node."""
        self.replace(arrivals=np.concatenate([self.room.arrivals, np.zeros_like(self.room.arrivals)], axis=1))

    def more_packets(self, number: int) -> None:
        """Let there be a place for packet *number*."""
        self.replace(afloat=np.concatenate([self.room.afloat, np.zeros(number + 256, dtype=np.int32)]))

    def more_fades(self) -> None:
        """Draw fades for some more frames."""
        self.room.state["fades"] = 0
        self.replace(supply=self._fading.power_gains(self._rng, FADES * max(1, self.room.fades.shape[1])))

    def power(self, node: int, row: int) -> float:
        """How strongly the frame in *row* arrives at *node*, which could lock on it."""
        room = self.room
        slot, sender = int(room.flights["slot"][row]), int(room.flights["src"][row])
        if self._wide:
            first, last = (int(room.reach[slot, at]) for at in (sender, sender + 1))
            place = int(np.searchsorted(room.target[slot, first:last], node))
            power = room.power[slot, first + place]
        else:
            place, power = node, room.gain[slot * self._count + sender, node]
        return float(power * room.fades[row, place] if room.fades.shape[1] else power)

    def take_noise(self, node: int) -> None:
        """Take over the noise of one node, which has changed within an epoch."""
        self.room.nodes["noise"][node] = self._channel.noise[node]
        self.room.nodes["least"][node] = self.room.settings["detect"][0] * self._channel.noise[node]

    def _enter_epoch(self) -> None:
        """Take over levels, delays and noise of the present epoch."""
        channel, nodes = self._channel, self.room.nodes
        moved_m = channel.step_m
        if self._noise is not None:
            old_m = np.stack([nodes[name] for name in PLACE], axis=1)
            moved_m = max(moved_m, float(np.sqrt(((channel.position_m - old_m) ** 2).sum(axis=1)).max()))
        self._step_m = max(self._step_m, moved_m)
        self._noise = channel.noise
        nodes["noise"] = channel.noise
        nodes["least"] = self.room.settings["detect"] * channel.noise
        self.room.state["quietest"] = nodes["least"].min()
        for axis, name in enumerate(PLACE):
            nodes[name] = channel.position_m[:, axis]
        used = set(self.room.flights["slot"][self.live() % len(self.room.flights)].tolist())
        free = sorted(set(range(self._slots)) - used)
        slot = free[0] if free else self._slots
        self._slots = max(self._slots, slot + 1)
        farthest_s = self._lay_links(channel, slot) if isinstance(channel, WideChannel) else self._lay_matrices(channel, slot)
        nodes["farthest_s"] = farthest_s + 2.0 * self._step_m / channel.sound_speed_m_s
        self._epochs += 1
        self._begun[slot] = self._epochs
        passed = self._epochs - min((self._begun[old] for old in used), default=self._epochs)
        state = self.room.state
        state["slot"], state["epoch_s"] = slot, channel.t_s
        state["slack_m"] = 1.0 + (2 + passed) * self._step_m

    def _lay_matrices(self, channel: Channel, slot: int) -> Floats:
        """Keep delays and levels of all pairs; return the longest delay from each node."""
        count = self._count
        here = slice(slot * count, (slot + 1) * count)
        names = ["delay_s", "gain"]
        if channel.drift is not None or len(self.room.drift):
            names.append("drift")
        self.replace(**{name: _grown(getattr(self.room, name), (slot + 1) * count, count) for name in names})
        self.room.delay_s[here] = channel.delay_s
        self.room.gain[here] = channel.power
        if len(self.room.drift):
            self.room.drift[here] = 0.0 if channel.drift is None else channel.drift
        if self._fading.kind == "none":
            sender, target = np.nonzero(channel.power >= self.room.state["quietest"])
            self._lay_strong(slot, sender, target, channel.power[sender, target])
        farthest_s: Floats = channel.delay_s.max(axis=1, initial=0.0)
        return farthest_s

    def _lay_strong(self, slot: int, sender: NDArray[np.int64], target: NDArray[Any], power: Floats) -> None:
        """Keep by themselves the links that any node could lock on: those that a frame is laid out on where nothing fades."""
        counts = np.bincount(sender, minlength=self._count)
        room, most = self.room, len(target)
        self.replace(
            strong=_grown(room.strong, slot + 1, self._count + 1), strong_target=_grown(room.strong_target, slot + 1, most),
            strong_power=_grown(room.strong_power, slot + 1, most),
            hearers=_grown(room.hearers, len(room.hearers), int(counts.max(initial=1))),
        )
        self.room.strong[slot, 1:] = np.cumsum(counts)
        self.room.strong_target[slot, :most], self.room.strong_power[slot, :most] = target, power

    def _lay_links(self, channel: WideChannel, slot: int) -> Floats:
        """Keep places and the levels of the links in reach; return the longest delay in reach."""
        count, room, links = self._count, self.room, channel.links
        here = slice(slot * count, (slot + 1) * count)
        most, widest = len(links.target), max(1, int(np.diff(links.begin).max()))
        if most > room.target.shape[1]:
            most = int(1.2 * most)  # the next epoch may have some more
        self.replace(
            place=_grown(room.place, (slot + 1) * count, 6), span_s=_grown(room.span_s[:, None], slot + 1, 1)[:, 0].copy(),
            reach=_grown(room.reach, slot + 1, count + 1), target=_grown(room.target, slot + 1, most),
            power=_grown(room.power, slot + 1, most), beside=channel.grid.beside,
        )
        if self._fading.kind == "none":
            strong = links.power >= room.state["quietest"]
            sender = np.repeat(np.arange(count), np.diff(links.begin))
            self._lay_strong(slot, sender[strong], links.target[strong], links.power[strong])
        else:
            self.replace(fades=_grown(room.fades, len(room.fades), widest), hearers=_grown(room.hearers, len(room.hearers), widest))
        room = self.room
        room.place[here, :3], room.place[here, 3:] = channel.position_m, channel.later_m
        room.span_s[slot] = channel.span_s
        room.reach[slot] = links.begin
        room.target[slot, : len(links.target)] = links.target
        room.power[slot, : len(links.power)] = links.power
        room.nodes["cell"] = channel.grid.cell
        self._gather()
        return np.full(count, channel.reach_m / channel.sound_speed_m_s)


def _grown(array: NDArray[Any], rows: int, columns: int) -> NDArray[Any]:
    """The array with at least so many rows and columns, zeros in the new ones."""
    rows, columns = max(rows, array.shape[0]), max(columns, array.shape[1])
    if array.shape == (rows, columns):
        return array
    grown = np.zeros((rows, columns), dtype=array.dtype)
    grown[: array.shape[0], : array.shape[1]] = array
    return grown
