"""The channel of a large network: of all pairs only those in reach are kept, so memory and time grow with the nodes and not their square.

A link is in reach where its level is above the receiver's noise less `FAR_DB`. What is fainter changes the noise by 0.004 dB and is left
out; this, and that a pair which comes back into reach has forgotten its shadowing, is all that differs from `Channel`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.acoustic.phy.channel import Channel, Floats, Water
from toolkit.acoustic.phy.fading import PairShadowing
from toolkit.acoustic.phy.modem import Modem
from toolkit.errors import ToolkitError

WIDE_NODES = 500
"""Networks of more nodes and sinks than these have a `WideChannel`."""

FAR_DB = 30.0
"""How far below the noise a signal is no longer reckoned with."""

_CHUNK = 512
"""Nodes of a cell that are compared with a neighbouring one's at a time."""

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Links:
    """Links in reach by sender, then receiver: those of sender i lie from begin[i] to before begin[i + 1]."""

    begin: Ints
    target: NDArray[np.int32]
    power: Floats


@dataclass(frozen=True)
class Grid:
    """Square cells as wide as the reach: which one each node is in (n,), and which ones lie around each, (cells, 9), -1 for none."""

    cell: Ints
    beside: Ints


class WideChannel(Channel):
    """Links in reach, valid from `t_s` until the next call of `advance`; `noise`, places and times are those of `Channel`.

    Attributes:
        links: who hears whom, and how strongly.
        grid: cells by which whoever is near is found.
        span_s: how long it is; 0 where nobody moves.
        reach_m: the distance beyond which nothing is in reach.
    """

    def __init__(self, water: Water, modem: Modem, move: Callable[[float], Floats], shadowing: PairShadowing) -> None:
        self._pairs = shadowing
        self._water = water
        self._modem = modem
        self._move = move
        self.t_s = -np.inf
        self.fingerprint = 0

    def __getattr__(self, name: str) -> Any:
        if name in ("snr_db", "power", "delay_s", "drift"):
            raise ToolkitError(f"in a network of more than {WIDE_NODES} nodes only links in reach are kept, and no matrix '{name}' of all")
        raise AttributeError(name)

    def mean_snr_db(self, sender: int, receiver: int) -> float:
        first, last = (int(self.links.begin[at]) for at in (sender, sender + 1))
        place = first + int(np.searchsorted(self.links.target[first:last], receiver))
        if place == last or self.links.target[place] != receiver:
            return -np.inf
        return float(10.0 * np.log10(self.links.power[place] / self.noise[receiver]))

    def heard_from(self, level_db: float) -> tuple[Ints, Ints]:
        senders = np.repeat(np.arange(len(self.links.begin) - 1), np.diff(self.links.begin))
        receivers = self.links.target.astype(np.int64)
        with np.errstate(divide="ignore"):
            heard = 10.0 * np.log10(self.links.power / self.noise[receivers]) >= level_db
        return senders[heard], receivers[heard]

    def advance(self, t_s: float, until_s: float | None = None) -> None:
        """Move nodes, weather and shadowing to time *t_s*; up to *until_s* delays change evenly, without it they stand still."""
        dt_s = t_s - self.t_s if np.isfinite(self.t_s) else 0.0
        self.t_s = t_s
        self.position_m = self._move(t_s)
        self.depth_m = self.position_m[:, 2].tolist()
        self.later_m = self._move(until_s) if until_s is not None and until_s > t_s else self.position_m
        self.step_m = float(np.sqrt(((self.later_m - self.position_m) ** 2).sum(axis=1)).max())
        self.span_s = until_s - t_s if until_s is not None and self.step_m > 0.0 else 0.0
        self.noise_db = self._modem.noise_level_db(self._water.noise_psd_db(t_s, self.position_m))
        self.reach_m = self._reach_m(t_s)
        self.grid = grid_of(self.position_m, self.reach_m)
        self.links = self._find_links(t_s, dt_s)
        self.noise = 10.0 ** (self.noise_db / 10.0)
        self.fingerprint = zlib.crc32(self.links.power.tobytes(), zlib.crc32(self.links.target.tobytes(), self.fingerprint))

    def _reach_m(self, t_s: float) -> float:
        """The distance at which the mean level, with three deviations of shadowing, falls below what the quietest node reckons with."""
        room_db = self._modem.source_level_db + 3.0 * self._pairs.sigma_db - float(self.noise_db.min()) + FAR_DB
        near_m, far_m = 1.0, 1e7
        while far_m > 1.001 * near_m:
            middle_m = np.sqrt(near_m * far_m)
            if float(self._water.loss_db(np.array([middle_m]), t_s)[0]) < room_db:
                near_m = middle_m
            else:
                far_m = middle_m
        return float(far_m)

    def _find_links(self, t_s: float, dt_s: float) -> Links:
        count = len(self.position_m)
        a, b = close_pairs(self.position_m, self.grid, self.reach_m)
        gap_m = self.position_m[a] - self.position_m[b]
        level_db = self._modem.source_level_db - self._water.loss_db(np.sqrt((gap_m**2).sum(axis=1)), t_s)
        level_db -= self._pairs.step(dt_s, a * count + b)
        sender, target, level_db = np.concatenate([a, b]), np.concatenate([b, a]), np.concatenate([level_db, level_db])
        kept = level_db >= self.noise_db[target] - FAR_DB
        sender, target, level_db = sender[kept], target[kept], level_db[kept]
        order = np.argsort(sender * count + target)
        begin = np.concatenate([[0], np.cumsum(np.bincount(sender, minlength=count))]).astype(np.int64)
        return Links(begin, target[order].astype(np.int32), 10.0 ** (level_db[order] / 10.0))


def grid_of(position_m: Floats, side_m: float) -> Grid:
    """Lay cells of *side_m* over the places."""
    low_m = position_m[:, :2].min(axis=0)
    column, row = np.floor((position_m[:, :2] - low_m) / side_m).astype(np.int64).T
    columns, rows = int(column.max()) + 1, int(row.max()) + 1
    beside = []
    for east in (-1, 0, 1):
        for north in (-1, 0, 1):
            x, y = np.meshgrid(np.arange(columns) + east, np.arange(rows) + north, indexing="ij")
            inside = (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
            beside.append(np.where(inside, x * rows + y, -1).reshape(-1))
    return Grid(column * rows + row, np.ascontiguousarray(np.stack(beside, axis=1)))


def close_pairs(position_m: Floats, grid: Grid, reach_m: float) -> tuple[Ints, Ints]:
    """Return all pairs (a, b), a < b, that are no farther apart than *reach_m*, ordered by a and then b."""
    found = list(_compared(position_m, grid, reach_m))
    if not found:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    a, b = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.argsort(a * len(position_m) + b)
    return a[order], b[order]


def _compared(position_m: Floats, grid: Grid, reach_m: float) -> Iterator[tuple[Ints, Ints]]:
    order = np.argsort(grid.cell, kind="stable")
    begin = np.searchsorted(grid.cell[order], np.arange(len(grid.beside) + 1))
    for cell, around in enumerate(grid.beside.tolist()):
        own = order[begin[cell] : begin[cell + 1]]
        others = np.concatenate([order[begin[other] : begin[other + 1]] for other in around if other >= 0])
        for first in range(0, len(own), _CHUNK):
            some = own[first : first + _CHUNK]
            gap_m = position_m[some][:, None, :] - position_m[others][None, :, :]
            near = (np.einsum("ijk,ijk->ij", gap_m, gap_m) <= reach_m**2) & (some[:, None] < others[None, :])
            left, right = near.nonzero()
            yield some[left], others[right]
