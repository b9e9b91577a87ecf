"""The physical layer as plain functions over records: which frame a receiver locks on, which is decoded, when the channel is sensed busy.

All state lies in the arrays of a `Room`. A frame has a number, counted from 0 on, by which everything knows it; its records lie in rings,
at that number modulo their length. Each node keeps the arrivals that it could lock on; those that only interfere are never laid out: when
a reception is looked at, the frames still in the water around are asked whether they overlap with it there.

The event queue is a binary heap of the frames that are still arriving somewhere, by the end of their next arrival. An arrival that begins
causes no event. Decisions are made when an arrival ends, or when its node starts to send or to sense, in the order in which the arrivals
began. Interferers therefore cost no event of their own, and the results are those of one process per arrival. `advance` handles all ends
up to a given time and stops where somebody has to be told. numba compiles the functions as they are (`compiled`); all stay in one file
with the layouts of the records, since numba's cache of compiled code asks only whether this file has changed.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

try:
    import fcntl
except ImportError:  # no such locks on this system
    fcntl = None  # type: ignore[assignment]

COMPILED = __name__.endswith("_compiled")  # see `compiled`
jit: Any = lambda function: function  # noqa: E731 - the plain form leaves functions as they are
if COMPILED:
    from numba.core import types
    from numba.extending import intrinsic

    numba: Any = importlib.import_module("numba")
    jit = numba.njit(cache=True, error_model="numpy")


# State of an arrival: undecided; locked on; then why reception never began or broke off.
PENDING, LOCKED, BUSY, HALF_DUPLEX, UNDETECTED, CAPTURED, ABORTED = range(7)

# Outcome of a reception, as codes of strings.
UNTOLD, DELIVERED, NOISE, COLLISION, DEAF = range(5)
OUTCOMES = ("", "delivered", "noise", "collision", "half_duplex")

# What `advance` stops for: nothing more is due; it needs draws, or room for rows; the last frame of a packet has left the water; a frame
# was decoded; and where there is an observer, who is told of every reception, one failed, or was decoded.
IDLE, NO_DRAWS, NO_ROWS, OVER, DECODED, SEEN_FAILED, SEEN_DECODED = range(7)

# What `send` answers instead of a number where it needs room for a frame, for arrivals at a node, for a row, fades, or room for what is
# sent from one cell.
NO_FRAME, NO_ARRIVAL, NO_ROW, NO_FADES, NO_CROWD = -1, -2, -3, -4, -5

BLOCK = 16
"""So many frames sent from one cell are compared with a node at once."""

_F, _I = "f8", "i8"

STATE = np.dtype([
    ("oldest", _I), ("next", _I),  # numbers of the oldest frame that is kept, and of the next one
    ("due", _I), ("tickets", _I),  # length of the event queue, and sequence numbers given out, which break ties
    ("draws", _I), ("fades", _I),  # uniform numbers left, and fades taken
    ("decoded", _I), ("fullest", _I),  # receptions decoded; no node has a longer list of arrivals
    ("slot", _I), ("epoch_s", _F), ("longest_s", _F),  # where the present epoch's channel lies, and when it began; the longest frame so far
    ("quietest", _F),  # the least power that any node needs to lock on
    ("slack_m", _F),  # how far anybody may have moved since the oldest frame was sent, and will in this epoch
])
SETTINGS = np.dtype([
    ("detect", _F), ("capture", _F), ("carrier", _F),  # ratios, linear
    ("ebn0_gain_db", _F), ("table_low_db", _F), ("table_step_db", _F),  # see `modulation.SuccessTable`
    ("tx_w", _F), ("rx_w", _F), ("end_s", _F), ("speed_m_s", _F),  # the end is that of the run, the speed that of sound
    ("piecewise", _I), ("observed", _I), ("steady", _I),  # interference by pieces; every reception is told; no fading
    ("tx", _I), ("rx", _I), ("sent", _I),  # codes of strings
])
FLIGHT = np.dtype([("t0_s", _F), ("dur_s", _F), ("since_s", _F), ("src", "i4"), ("slot", "i4")])  # of a frame; since its epoch began
FRAME = np.dtype([
    ("gone_s", _F), ("dst", _I), ("nbytes", _I), ("kind", _I), ("packet", _I),  # gone: nothing undecided overlaps with it any more
    ("hearers", _I), ("heard", _I),  # how many nodes could lock on it, and at how many of them it has ended
])
HEARER = np.dtype([("start_s", _F), ("node", _I)])  # of one frame, in the order of their starts
DUE = np.dtype([("end_s", _F), ("ticket", _I), ("frame", _I)])
ARRIVAL = np.dtype([("start_s", _F), ("end_s", _F), ("power", _F), ("until_s", _F), ("frame", _I), ("state", _I)])  # until: it was heard
NEAR = np.dtype([("start_s", _F), ("end_s", _F), ("power", _F), ("frame", _I), ("own", _I)])
NODE = np.dtype([
    ("x_m", _F), ("y_m", _F), ("z_m", _F),
    ("noise", _F), ("least", _F), ("farthest_s", _F),  # least: power that a preamble needs; farthest: delay to anybody who may hear
    ("cell", _I), ("arrivals", _I), ("locked", _I), ("locked_power", _F), ("locked_until_s", _F),  # the frame that it locked on last
    ("tx_s", _F), ("rx_s", _F),
])
MUTED = np.dtype([("packet", _I), ("until_s", _F)])
ROW = np.dtype([  # that of `toolkit.core.row_buffer`
    ("t0_s", _F), ("dur_s", _F), ("energy_j", _F), ("node", "i4"), ("peer", "i4"), ("nbytes", "i4"), ("packet", "i4"),
    ("kind", "i2"), ("phase", "i2"), ("outcome", "i2"), ("spare", "i2"),
])


class Room(NamedTuple):
    """What all functions work on. Of the channel there are several slots, since a frame keeps that of the epoch it was sent in."""

    state: Any
    """(1,) of STATE."""
    settings: Any
    """(1,) of SETTINGS."""
    table: Any
    """(m,) ln(-ln(1 - BER)) over Eb/N0 (`modulation.SuccessTable`)."""
    flights: Any
    """(rows,) of FLIGHT."""
    frames: Any
    """(rows,) of FRAME."""
    hearers: Any
    """(rows, most) of HEARER."""
    fades: Any
    """(rows, n) power gain of each frame at each node, or on each link of its sender; (rows, 0) where nothing fades."""
    supply: Any
    """Power gains not used yet, taken from the first on."""
    queue: Any
    """(rows,) of DUE, a heap."""
    nodes: Any
    """(n,) of NODE."""
    arrivals: Any
    """(n, places) of ARRIVAL: what each node could lock on, in the order of sending."""
    near: Any
    """(rows,) of NEAR, scratch: what overlaps at one node, in the order of sending."""
    delay_s: Any
    """(slots n, n) from each node to each; the same both ways."""
    drift: Any
    """(slots n, n) growth of the delay per second of the epoch; (0, n) where nobody moves."""
    gain: Any
    """(slots n, n) mean power at each receiver, from each sender."""
    place: Any
    """Large networks only: (slots n, 6) where each node is when an epoch begins and ends."""
    span_s: Any
    """(slots,) how long an epoch is."""
    reach: Any
    """(slots, n + 1) where the links of each sender begin; (0, n + 1) where all pairs have their matrix."""
    target: Any
    """(slots, m) receivers of the links, in order for each sender."""
    power: Any
    """(slots, m) mean power of the links."""
    strong: Any
    """(slots, n + 1) where those links of each sender begin that any node could lock on; (0, n + 1) where levels fade."""
    strong_target: Any
    """(slots, k) receivers of the strong links, in order for each sender."""
    strong_power: Any
    """(slots, k) their mean power."""
    beside: Any
    """(cells, 9) a cell and those around it, or -1: whoever is in reach is in one of them. Where all pairs have a matrix there is one."""
    sent_s: Any
    """(cells, many) when each of the frames that were sent from a cell was, at its count there modulo *many*, a power of two."""
    sent_for_s: Any
    """(cells, many) for how long; these six are no records, so that one instruction compares several."""
    sent_x_m: Any
    """(cells, many) from where."""
    sent_y_m: Any
    """(cells, many) from where."""
    sent_z_m: Any
    """(cells, many) from where."""
    sent_frame: Any
    """(cells, many) their numbers."""
    crowds: Any
    """(cells, 2) of those the counts of the oldest and of the next one."""
    hits: Any
    """(BLOCK,) scratch: which of as many frames may overlap."""
    draws: Any
    """Uniform random numbers, used from the last to the first."""
    reasons: Any
    """Per packet the code of its last drop reason."""
    afloat: Any
    """Per packet how many frames of it are in the water."""
    muted: Any
    """(slots, n) of MUTED: up to when a node wants no frame of a packet, at the packet's number modulo the slots."""
    rows: Any
    """(many,) of ROW: the ledger's row buffer."""
    tally: Any
    """(2,) rows in use, rows there are."""


LAYOUT = Room(
    state=STATE, settings=SETTINGS, table=np.dtype(_F), flights=FLIGHT, frames=FRAME, hearers=HEARER, fades=np.dtype(_F),
    supply=np.dtype(_F), queue=DUE, nodes=NODE, arrivals=ARRIVAL, near=NEAR, delay_s=np.dtype(_F), drift=np.dtype(_F), gain=np.dtype(_F),
    place=np.dtype(_F), span_s=np.dtype(_F), reach=np.dtype(_I), target=np.dtype("i4"), power=np.dtype(_F),
    strong=np.dtype(_I), strong_target=np.dtype("i4"), strong_power=np.dtype(_F), beside=np.dtype(_I),
    sent_s=np.dtype(_F), sent_for_s=np.dtype("f4"), sent_x_m=np.dtype("f4"), sent_y_m=np.dtype("f4"), sent_z_m=np.dtype("f4"),
    sent_frame=np.dtype(_I), crowds=np.dtype(_I), hits=np.dtype("u1"), draws=np.dtype(_F),
    reasons=np.dtype("i2"), afloat=np.dtype("i4"), muted=MUTED, rows=ROW, tally=np.dtype(_I),
)
"""What the elements of every array are."""

_TABLES = (
    "hearers", "fades", "arrivals", "delay_s", "drift", "gain", "place", "reach", "target", "power", "strong", "strong_target",
    "strong_power", "beside", "sent_s", "sent_for_s",
    "sent_x_m", "sent_y_m", "sent_z_m", "sent_frame", "crowds", "muted",
)
"""Those with two dimensions."""


ARRAYS = len(Room._fields)


def plan(room: Room) -> Any:
    """Return address, length and width of every array of *room*. Its own address is all that a compiled function is given.

    A call with one small array costs a third of a microsecond, and with all of them five. Room and plan have to be kept while that
    address is used.
    """
    numbers = []
    for array, dtype in zip(room, LAYOUT, strict=True):
        if array.dtype != dtype or not array.flags.c_contiguous:
            raise TypeError(f"an array of {array.dtype} in place of {dtype}")
        numbers += [array.ctypes.data, len(array), array.shape[-1]]
    return np.array(numbers, dtype=np.int64)


if COMPILED:

    def _as_pointer(typing_context, address):
        """A number as an address."""

        def generate(context, builder, signature, arguments):
            return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

        return types.voidptr(types.int64), generate

    _pointer: Any = intrinsic(_as_pointer)

    def _array(name):
        """Return a function that lays one array over the memory that a plan tells of."""
        place, dtype = 3 * Room._fields.index(name), getattr(LAYOUT, name)

        def table(where):
            plan = numba.carray(_pointer(where), (3 * ARRAYS,), np.int64)
            return numba.carray(_pointer(plan[place]), (plan[place + 1], plan[place + 2]), dtype)

        def line(where):
            plan = numba.carray(_pointer(where), (3 * ARRAYS,), np.int64)
            return numba.carray(_pointer(plan[place]), (plan[place + 1],), dtype)

        return jit(table if name in _TABLES else line)

else:
    _array = attrgetter

state_in, settings_in, table_in, flights_in, frames_in = map(_array, ("state", "settings", "table", "flights", "frames"))
hearers_in, fades_in, supply_in, queue_in, nodes_in = map(_array, ("hearers", "fades", "supply", "queue", "nodes"))
arrivals_in, near_in, delay_in, drift_in, gain_in = map(_array, ("arrivals", "near", "delay_s", "drift", "gain"))
place_in, span_in, reach_in, target_in, power_in = map(_array, ("place", "span_s", "reach", "target", "power"))
strong_in, strong_target_in, strong_power_in = map(_array, ("strong", "strong_target", "strong_power"))
beside_in, crowds_in, sent_in, sent_for_in = map(_array, ("beside", "crowds", "sent_s", "sent_for_s"))
sent_x_in, sent_y_in, sent_z_in, sent_frame_in = map(_array, ("sent_x_m", "sent_y_m", "sent_z_m", "sent_frame"))
hits_in = _array("hits")
draws_in, reasons_in, afloat_in, muted_in = map(_array, ("draws", "reasons", "afloat", "muted"))
rows_in, tally_in = map(_array, ("rows", "tally"))


# The event queue


@jit
def _before(queue, a, b):
    """Whether place *a* of the event queue comes before place *b*."""
    end_s, ticket = queue["end_s"], queue["ticket"]
    if end_s[a] != end_s[b]:
        return end_s[a] < end_s[b]
    return ticket[a] < ticket[b]


@jit
def _swap(queue, a, b):
    end_s, ticket, frame = queue["end_s"], queue["ticket"], queue["frame"]
    end_s[a], end_s[b] = end_s[b], end_s[a]
    ticket[a], ticket[b] = ticket[b], ticket[a]
    frame[a], frame[b] = frame[b], frame[a]


@jit
def _rise(queue, place):
    """Restore the heap after its entry at *place* has come in."""
    while place > 0 and _before(queue, place, (place - 1) // 2):
        _swap(queue, place, (place - 1) // 2)
        place = (place - 1) // 2


@jit
def _sink(queue, size):
    """Restore the heap of *size* entries after its first one has changed."""
    place = 0
    while True:
        first = place
        for below in (2 * place + 1, 2 * place + 2):
            if below < size and _before(queue, below, first):
                first = below
        if first == place:
            return
        _swap(queue, place, first)
        place = first


# What arrives at one node


@jit
def _around(node, low_s, high_s, where):
    """List in `near`, in the order of sending, what begins at *node* by *high_s* and ends after *low_s*; return how many.

    What cannot overlap, wherever both have moved to meanwhile, is seen from the distance between their places.
    """
    state, nodes, beside, crowds = state_in(where), nodes_in(where), beside_in(where), crowds_in(where)
    speed_m_s, slack_m, oldest = settings_in(where)["speed_m_s"][0], state["slack_m"][0], state["oldest"][0]
    early_s = low_s - nodes["farthest_s"][node] - state["longest_s"][0] - slack_m / speed_m_s
    mask = sent_in(where).shape[1] - 1
    hits = hits_in(where)
    found = 0
    for side in range(9):
        cell = beside[nodes["cell"][node], side]
        if cell < 0:
            continue
        number, sent_s = sent_frame_in(where)[cell], sent_in(where)[cell]
        first, k = crowds[cell, 0], crowds[cell, 1] - 1
        while k >= first and sent_s[k & mask] >= early_s and number[k & mask] >= oldest:
            block = k & ~(BLOCK - 1)
            if _compare(cell, block & mask, node, low_s, high_s, where) > 0:
                for one in range(k, max(first, block) - 1, -1):
                    if hits[one - block] and number[one & mask] >= oldest:
                        found = _consider(number[one & mask], node, low_s, high_s, found, where)
            k = block - 1
    return found


@jit
def _compare(cell, at, node, low_s, high_s, where):
    """Mark in `hits` which of the frames sent from *cell*, at place *at* and after it, can overlap at *node*; return how many.

    A loop without a branch over columns, so that several of its passes are done at once.
    """
    state, nodes = state_in(where), nodes_in(where)
    speed_m_s, slack_m = settings_in(where)["speed_m_s"][0], state["slack_m"][0]
    x_m, y_m, z_m = np.float32(nodes["x_m"][node]), np.float32(nodes["y_m"][node]), np.float32(nodes["z_m"][node])
    sent_s, dur_s, hits = sent_in(where)[cell, at : at + BLOCK], sent_for_in(where)[cell, at : at + BLOCK], hits_in(where)
    xs_m, ys_m = sent_x_in(where)[cell, at : at + BLOCK], sent_y_in(where)[cell, at : at + BLOCK]
    zs_m = sent_z_in(where)[cell, at : at + BLOCK]
    count = 0
    for i in range(BLOCK):
        dx_m, dy_m, dz_m = xs_m[i] - x_m, ys_m[i] - y_m, zs_m[i] - z_m
        square_m2 = dx_m * dx_m + dy_m * dy_m + dz_m * dz_m
        far_m = max(0.0, (high_s - sent_s[i]) * speed_m_s + slack_m)
        near_m = max(0.0, (low_s - sent_s[i] - dur_s[i]) * speed_m_s - slack_m)
        hit = (square_m2 <= far_m * far_m) & (square_m2 >= near_m * near_m)
        hits[i] = hit
        count += hit
    return count


@jit
def _link(slot, sender, node, where):
    """The place of a link among those of its epoch, -1 if *node* is out of reach."""
    reach, target = reach_in(where), target_in(where)
    low, high = reach[slot, sender], reach[slot, sender + 1]
    end = high
    while low < high:
        middle = (low + high) // 2
        if target[slot, middle] < node:
            low = middle + 1
        else:
            high = middle
    return low if low < end and target[slot, low] == node else -1


@jit
def _way_s(slot, a, b, since_s, where):
    """The delay between two nodes in a large network, *since_s* after an epoch began."""
    place, count = place_in(where), len(nodes_in(where))
    here, there = place[slot * count + a], place[slot * count + b]
    way_m = math.sqrt((here[0] - there[0]) ** 2 + (here[1] - there[1]) ** 2 + (here[2] - there[2]) ** 2)
    span_s = span_in(where)[slot]
    if span_s > 0.0:
        later_m = math.sqrt((here[3] - there[3]) ** 2 + (here[4] - there[4]) ** 2 + (here[5] - there[5]) ** 2)
        way_m += (later_m - way_m) * since_s / span_s
    return way_m / settings_in(where)["speed_m_s"][0]


@jit
def _consider(frame, node, low_s, high_s, found, where):
    """List *frame* in `near`, among the *found* ones, if it overlaps at *node*; return how many there are."""
    near, here = near_in(where), arrivals_in(where)[node]
    known = _find(node, frame, where)  # of what the node could lock on, all is at hand
    if known >= 0:
        own, start_s, end_s, power = False, here["start_s"][known], here["end_s"][known], here["power"][known]
    else:
        flights = flights_in(where)
        row = frame % len(flights)
        own = flights["src"][row] == node
        start_s = _start_s(row, node, where)
        end_s = start_s + flights["dur_s"][row]
        power = 0.0
    if start_s > high_s or end_s <= low_s:
        return found
    if known < 0 and not own:
        power = _power(row, node, where)
        if power < 0.0:
            return found
    place = found
    while place > 0 and near["frame"][place - 1] > frame:
        near[place] = near[place - 1]
        place -= 1
    near["start_s"][place] = start_s
    near["end_s"][place] = end_s
    near["power"][place] = power
    near["frame"][place] = frame
    near["own"][place] = own
    return found + 1


@jit
def _start_s(row, node, where):
    """When the frame in *row* begins at *node*."""
    flights, drift = flights_in(where), drift_in(where)
    sender, slot = flights["src"][row], flights["slot"][row]
    if len(reach_in(where)) > 0:
        way_s = _way_s(slot, sender, node, flights["since_s"][row], where)
    else:
        matrix = slot * len(nodes_in(where))
        way_s = delay_in(where)[matrix + node, sender]
        if len(drift) > 0:
            way_s += drift[matrix + node, sender] * flights["since_s"][row]
    return way_s + flights["t0_s"][row]


@jit
def _power(row, node, where):
    """How strongly the frame in *row* arrives at *node*, which has not sent it; below 0 where that is out of reach."""
    flights, fades = flights_in(where), fades_in(where)
    sender, slot = flights["src"][row], flights["slot"][row]
    if len(reach_in(where)) > 0:
        link = _link(slot, sender, node, where)
        if link < 0:
            return -1.0
        fade, power = link - reach_in(where)[slot, sender], power_in(where)[slot, link]
    else:
        fade, power = node, gain_in(where)[slot * len(nodes_in(where)) + sender, node]
    if fades.shape[1] > 0:
        power *= fades[row, fade]
    return power


@jit
def _find(node, frame, where):
    """The place of *frame* among the arrivals at *node*; -1 if it is not there."""
    number = arrivals_in(where)["frame"]
    place = nodes_in(where)["arrivals"][node] - 1
    while place >= 0 and number[node, place] != frame:
        place -= 1
    return place


@jit
def _decide(node, until_s, found, where):
    """Decide, in order of their start, every arrival at *node* that began by *until_s*; `near` lists *found* around them.

    A receiver that is idle locks on the first arrival whose preamble it can detect against everything else that arrives; a later one takes
    over only when it is stronger by the capture ratio. A node that sends hears nothing. Frames of one sender come one after the other and
    do not disturb each other, although one whose sender draws near begins a few microseconds before the one sent just before it is over.
    """
    nodes, near, here = nodes_in(where), near_in(where), arrivals_in(where)[node]
    start_s, end_s, power, heard_s, number, state = (
        here["start_s"], here["end_s"], here["power"], here["until_s"], here["frame"], here["state"]
    )
    near_start_s, near_end_s, near_power, near_number, own = near["start_s"], near["end_s"], near["power"], near["frame"], near["own"]
    locked_power, locked_s = nodes["locked_power"], nodes["locked_until_s"]
    src = flights_in(where)["src"]
    rows = len(src)
    while True:
        new = -1
        t_s = np.inf
        for s in range(nodes["arrivals"][node]):
            if state[s] == PENDING and start_s[s] <= until_s and start_s[s] < t_s:
                new = s
                t_s = start_s[s]
        if new < 0:
            return
        interference = 0.0
        sending = False
        next_send_s = np.inf
        for i in range(found):
            if own[i]:
                if near_start_s[i] <= t_s < near_end_s[i]:
                    sending = True
                elif t_s < near_start_s[i] < next_send_s:
                    next_send_s = near_start_s[i]
            elif near_start_s[i] <= t_s < near_end_s[i] and src[near_number[i] % rows] != src[number[new] % rows]:
                interference += near_power[i]
        receiving = locked_s[node] > t_s and src[nodes["locked"][node] % rows] != src[number[new] % rows]
        if sending:
            state[new] = HALF_DUPLEX
        elif receiving and power[new] < settings_in(where)["capture"][0] * locked_power[node]:
            state[new] = BUSY
        elif power[new] < settings_in(where)["detect"][0] * (nodes["noise"][node] + interference):
            state[new] = UNDETECTED
        else:
            taken = _find(node, nodes["locked"][node], where) if receiving else -1
            if taken >= 0:
                state[taken] = CAPTURED
                heard_s[taken] = t_s
            if next_send_s < end_s[new]:
                state[new] = ABORTED
                heard_s[new] = next_send_s
            else:
                state[new] = LOCKED
                heard_s[new] = end_s[new]
            nodes["locked"][node] = number[new]
            locked_power[node] = power[new]
            locked_s[node] = heard_s[new]


@jit
def _settle(node, until_s, where):
    """Decide every arrival at *node* that began by *until_s*, which is now or the end of the run."""
    state = arrivals_in(where)["state"]
    for s in range(nodes_in(where)["arrivals"][node]):
        if state[node, s] == PENDING:
            found = _around(node, until_s - state_in(where)["longest_s"][0] - 1e-6, until_s, where)
            _decide(node, until_s, found, where)
            return


@jit
def _bit_loss(snr_db, where):
    """The rate per bit at which success decays, from the table."""
    settings, table = settings_in(where), table_in(where)
    place = (snr_db + settings["ebn0_gain_db"][0] - settings["table_low_db"][0]) / settings["table_step_db"][0]
    place = min(max(place, 0.0), len(table) - 1.0)
    low = min(int(place), len(table) - 2)
    return math.exp(table[low] + (place - low) * (table[low + 1] - table[low]))


@jit
def _decode(node, place, draw, found, where):
    """Return (outcome, mean SINR in dB) of the locked arrival at *place*, which ended; `near` lists *found* around it.

    Interference is constant between the starts and ends of the other arrivals; the frame survives when its bits survive in every
    such piece (or, where it does not count by pieces, at the mean interference). One uniform *draw* decides; a frame that the same draw
    would have carried through the noise alone is a collision.
    """
    near, here = near_in(where), arrivals_in(where)[node]
    near_start_s, near_end_s, near_power, near_number, own = near["start_s"], near["end_s"], near["power"], near["frame"], near["own"]
    wanted, end_s, signal = here["frame"][place], here["end_s"][place], here["power"][place]
    row = wanted % len(flights_in(where))
    src = flights_in(where)["src"]
    dur_s, bits = flights_in(where)["dur_s"][row], 8.0 * frames_in(where)["nbytes"][row]
    noise = nodes_in(where)["noise"][node]
    piecewise = settings_in(where)["piecewise"][0] != 0
    loss = 0.0
    snr_db = 0.0
    mean_interference = 0.0
    t_s = here["start_s"][place]
    while t_s < end_s:
        interference = 0.0
        next_s = end_s
        for i in range(found):
            if src[near_number[i] % len(src)] == src[row] or own[i] or near_power[i] <= 0.0:
                continue
            other_s = near_start_s[i]
            if other_s <= t_s:
                stop_s = near_end_s[i]
                if stop_s > t_s:
                    interference += near_power[i]
                    next_s = min(next_s, stop_s)
            elif other_s < next_s:
                next_s = other_s
        share = (next_s - t_s) / dur_s
        mean_interference += share * interference
        if piecewise:
            snr_db = 10.0 * math.log10(signal / (noise + interference))
            loss += share * bits * _bit_loss(snr_db, where)
        t_s = next_s
    sinr_db = snr_db
    if mean_interference > 0.0 or not piecewise:
        sinr_db = 10.0 * math.log10(signal / (noise + mean_interference))
    if not piecewise:
        loss = bits * _bit_loss(sinr_db, where)
    if draw < math.exp(-loss):
        return DELIVERED, sinr_db
    if mean_interference > 0.0 and draw < math.exp(-bits * _bit_loss(10.0 * math.log10(signal / noise), where)):
        return COLLISION, sinr_db
    return NOISE, sinr_db


@jit
def _write(kind, t0_s, dur_s, power_w, node, peer, row, outcome, where):
    """Write a row of the ledger on the frame in *row*."""
    frames, book, tally = frames_in(where), rows_in(where), tally_in(where)
    line = tally[0]
    tally[0] += 1
    book["t0_s"][line] = t0_s
    book["dur_s"][line] = dur_s
    book["energy_j"][line] = dur_s * power_w
    book["node"][line] = node
    book["peer"][line] = peer
    book["nbytes"][line] = frames["nbytes"][row]
    book["packet"][line] = frames["packet"][row]
    book["kind"][line] = kind
    book["phase"][line] = frames["kind"][row]
    book["outcome"][line] = outcome


@jit
def _receive(frame, node, due_s, where):
    """The arrival of *frame* at *node* ends at *due_s*: write its row; return (outcome, mean SINR in dB, NaN if not heard to its end)."""
    state, frames, nodes, arrivals, settings = state_in(where), frames_in(where), nodes_in(where), arrivals_in(where), settings_in(where)
    row = frame % len(frames)
    place = _find(node, frame, where)
    here = arrivals[node]
    begin_s = here["start_s"][place]
    now = here["state"][place]
    found = 0
    if now in (PENDING, LOCKED):  # if locked: a later frame may have taken the receiver
        found = _around(node, due_s - state["longest_s"][0] - 1e-6, max(due_s, here["end_s"][place]), where)
        _decide(node, due_s, found, where)
        now = here["state"][place]
    until_s = here["until_s"][place]
    sinr_db = np.nan
    outcome = COLLISION
    if now == LOCKED:
        until_s = due_s
        state["draws"][0] -= 1
        state["decoded"][0] += 1
        outcome, sinr_db = _decode(node, place, draws_in(where)[state["draws"][0]], found, where)
    elif now in (HALF_DUPLEX, ABORTED):
        outcome = DEAF
    for later in range(place + 1, nodes["arrivals"][node]):
        arrivals[node, later - 1] = arrivals[node, later]
    nodes["arrivals"][node] -= 1
    dur_s = max(0.0, until_s - begin_s)
    nodes["rx_s"][node] += dur_s
    packet, dst = frames["packet"][row], frames["dst"][row]
    if outcome != DELIVERED and packet >= 0 and (dst == -1 or dst == node):
        reasons_in(where)[packet] = outcome
    _write(settings["rx"][0], begin_s, dur_s, settings["rx_w"][0], node, flights_in(where)["src"][row], row, outcome, where)
    return outcome, sinr_db


@jit
def _leaves(row, where):
    """The frame in *row* has arrived everywhere; return whether it was the last one of its packet in the water."""
    state, queue, frames, afloat = state_in(where), queue_in(where), frames_in(where), afloat_in(where)
    state["due"][0] -= 1
    _swap(queue, 0, state["due"][0])
    _sink(queue, state["due"][0])
    packet = frames["packet"][row]
    if packet < 0:
        return False
    afloat[packet] -= 1
    return afloat[packet] == 0


@jit
def _is_muted(packet, node, t_s, where):
    """Whether *node* wants no frame of *packet* at present."""
    muted = muted_in(where)
    if packet < 0 or len(muted) == 0:
        return False
    slot = packet % len(muted)
    return muted["packet"][slot, node] == packet and t_s <= muted["until_s"][slot, node]


@jit
def _lay_out(frame, node, now_s, dur_s, where):
    """Let the arrivals of *frame*, which *node* sends, begin where somebody could lock on it; return how many these are."""
    state, nodes, gain = state_in(where), nodes_in(where), gain_in(where)
    delay_s, drift, fades, target, reach = delay_in(where), drift_in(where), fades_in(where), target_in(where), reach_in(where)
    least, quietest = nodes["least"], state["quietest"][0]
    slot = state["slot"][0]
    row = frame % len(fades)
    since_s = now_s - state["epoch_s"][0]
    fade = fades.shape[1] > 0
    count = 0
    if len(strong_in(where)) > 0:
        for link in range(strong_in(where)[slot, node], strong_in(where)[slot, node + 1]):
            j, power = strong_target_in(where)[slot, link], strong_power_in(where)[slot, link]
            if power >= least[j]:
                if len(reach_in(where)) > 0:
                    start_s = _way_s(slot, node, j, since_s, where)
                else:
                    start_s = delay_s[slot * len(nodes) + node, j]
                    if len(drift) > 0:
                        start_s += drift[slot * len(nodes) + node, j] * since_s
                _let_arrive(frame, j, start_s + now_s, dur_s, power, count, where)
                count += 1
        return count
    if len(reach_in(where)) > 0:
        first = reach[slot, node]
        for link in range(first, reach[slot, node + 1]):
            power = power_in(where)[slot, link]
            if fade:
                power *= fades[row, link - first]
            j = target[slot, link]
            if power >= quietest and power >= least[j]:
                _let_arrive(frame, j, _way_s(slot, node, j, since_s, where) + now_s, dur_s, power, count, where)
                count += 1
        return count
    sender = slot * len(nodes) + node
    for j in range(len(nodes)):
        power = gain[sender, j] * fades[row, j] if fade else gain[sender, j]
        if power < quietest or power < least[j] or j == node:
            continue
        start_s = delay_s[sender, j]
        if len(drift) > 0:
            start_s += drift[sender, j] * since_s
        _let_arrive(frame, j, start_s + now_s, dur_s, power, count, where)
        count += 1
    return count


@jit
def _let_arrive(frame, node, start_s, dur_s, power, count, where):
    """Let *frame* arrive at *node*, which is one more hearer beside *count* others."""
    state, nodes, arrivals, hearers = state_in(where), nodes_in(where), arrivals_in(where), hearers_in(where)
    place = nodes["arrivals"][node]
    nodes["arrivals"][node] = place + 1
    state["fullest"][0] = max(state["fullest"][0], place + 1)
    arrivals["start_s"][node, place] = start_s
    arrivals["end_s"][node, place] = start_s + dur_s
    arrivals["power"][node, place] = power
    arrivals["until_s"][node, place] = 0.0
    arrivals["frame"][node, place] = frame
    arrivals["state"][node, place] = PENDING
    row = frame % len(hearers)
    hearer_s, hearer = hearers["start_s"], hearers["node"]
    k = count
    while k > 0 and hearer_s[row, k - 1] > start_s:
        hearer_s[row, k] = hearer_s[row, k - 1]
        hearer[row, k] = hearer[row, k - 1]
        k -= 1
    hearer_s[row, k] = start_s
    hearer[row, k] = node


# What the medium calls: *where* is the room, or the address of its plan where the functions are compiled


@jit
def advance(now_s, limit_s, where):
    """Take the arrivals that end before *limit_s* (or now), one after the other, until somebody has to be told.

    Returns (what it stopped for, number of the frame, node, whether the frame was the last one of its packet in the water, time in s,
    mean SINR in dB, NaN where the modem did not listen to the end, and when the next arrival ends).
    """
    state, queue, frames, tally = state_in(where), queue_in(where), frames_in(where), tally_in(where)
    due, end_s = state["due"], queue["end_s"]
    observed = settings_in(where)["observed"][0] != 0
    while due[0] > 0 and (end_s[0] < limit_s or end_s[0] <= now_s):
        due_s, frame = end_s[0], queue["frame"][0]
        row = frame % len(frames)
        heard = frames["heard"][row]
        told, node, over, sinr_db = IDLE, -1, False, np.nan
        if frames["hearers"][row] > 0:
            if tally[0] >= tally[1]:
                return NO_ROWS, frame, -1, False, now_s, np.nan, due_s
            if state["draws"][0] == 0:
                return NO_DRAWS, frame, -1, False, now_s, np.nan, due_s
            node = hearers_in(where)["node"][row, heard]
            outcome, sinr_db = _receive(frame, node, due_s, where)
            if observed:
                told = SEEN_DECODED if outcome == DELIVERED else SEEN_FAILED
            elif outcome == DELIVERED and not _is_muted(frames["packet"][row], node, due_s, where):
                told = DECODED
        heard += 1
        frames["heard"][row] = heard
        if heard >= frames["hearers"][row]:
            over = _leaves(row, where)
            if over and told == IDLE:
                told = OVER
        else:
            gap_s = hearers_in(where)["start_s"][row, heard] + flights_in(where)["dur_s"][row] - due_s
            end_s[0] = due_s + max(0.0, gap_s)
            queue["ticket"][0] = state["tickets"][0]
            state["tickets"][0] += 1
            _sink(queue, due[0])
        if told != IDLE:
            return told, frame, node, over, due_s, sinr_db, end_s[0] if due[0] > 0 else np.inf
    return IDLE, -1, -1, False, now_s, np.nan, end_s[0] if due[0] > 0 else np.inf


@jit
def send(now_s, dur_s, node, dst, nbytes, kind, packet, where):
    """Node *node* begins a frame: what it was receiving breaks off, the frame's arrivals are laid out, and its row is written.

    Returns (its number, receivers that could lock, whether it is the only one of its packet in the water, when the event queue is next
    due); the number is one of those above where something is wanting, and then nothing has changed.
    """
    state, settings, flights, frames, nodes = state_in(where), settings_in(where), flights_in(where), frames_in(where), nodes_in(where)
    queue, afloat, fades, supply, tally = queue_in(where), afloat_in(where), fades_in(where), supply_in(where), tally_in(where)
    arrivals = arrivals_in(where)
    rows = len(frames)
    while state["oldest"][0] < state["next"][0] and frames["gone_s"][state["oldest"][0] % rows] < now_s:
        state["oldest"][0] += 1
    if state["next"][0] - state["oldest"][0] == rows:
        return NO_FRAME, 0, False, np.inf
    if state["fullest"][0] == arrivals.shape[1]:
        return NO_ARRIVAL, 0, False, np.inf
    if tally[0] >= tally[1]:
        return NO_ROW, 0, False, np.inf
    crowds, cell = crowds_in(where), nodes["cell"][node]
    many = sent_in(where).shape[1]
    while crowds[cell, 0] < crowds[cell, 1] and sent_frame_in(where)[cell, crowds[cell, 0] & (many - 1)] < state["oldest"][0]:
        crowds[cell, 0] += 1
    if crowds[cell, 1] - crowds[cell, 0] == many:
        return NO_CROWD, 0, False, np.inf
    frame = state["next"][0]
    row = frame % rows
    width = fades.shape[1]
    if width > 0 and len(reach_in(where)) > 0:
        width = reach_in(where)[state["slot"][0], node + 1] - reach_in(where)[state["slot"][0], node]
    if width > 0:
        taken = state["fades"][0]
        if taken + width > len(supply):
            return NO_FADES, 0, False, np.inf
        for j in range(width):
            fades[row, j] = supply[taken + j]
        state["fades"][0] = taken + width
    state["longest_s"][0] = max(state["longest_s"][0], dur_s)
    _settle(node, now_s, where)
    if nodes["locked_until_s"][node] > now_s:
        place = _find(node, nodes["locked"][node], where)
        if place >= 0 and arrivals["state"][node, place] == LOCKED:
            arrivals["state"][node, place] = ABORTED
            arrivals["until_s"][node, place] = now_s
            nodes["locked_until_s"][node] = now_s
    state["next"][0] += 1
    flights["t0_s"][row] = now_s
    flights["dur_s"][row] = dur_s
    flights["since_s"][row] = now_s - state["epoch_s"][0]
    flights["src"][row] = node
    flights["slot"][row] = state["slot"][0]
    at = crowds[cell, 1] & (many - 1)
    crowds[cell, 1] += 1
    sent_in(where)[cell, at] = now_s
    sent_for_in(where)[cell, at] = dur_s
    sent_x_in(where)[cell, at] = nodes["x_m"][node]
    sent_y_in(where)[cell, at] = nodes["y_m"][node]
    sent_z_in(where)[cell, at] = nodes["z_m"][node]
    sent_frame_in(where)[cell, at] = frame
    frames["gone_s"][row] = now_s + nodes["farthest_s"][node] + dur_s + 2.0 * state["longest_s"][0]
    frames["dst"][row] = dst
    frames["nbytes"][row] = nbytes
    frames["kind"][row] = kind
    frames["packet"][row] = packet
    count = _lay_out(frame, node, now_s, dur_s, where)
    frames["hearers"][row] = count
    frames["heard"][row] = 0
    first = packet >= 0 and afloat[packet] == 0
    if packet >= 0:
        afloat[packet] += 1
    sent_s = min(dur_s, settings["end_s"][0] - now_s)
    nodes["tx_s"][node] += sent_s
    _write(settings["tx"][0], now_s, sent_s, settings["tx_w"][0], node, dst, row, settings["sent"][0], where)
    end_s = hearers_in(where)["start_s"][row, 0] + dur_s if count > 0 else now_s + dur_s
    due = state["due"][0]
    queue["end_s"][due] = now_s + max(0.0, end_s - now_s)
    queue["ticket"][due] = state["tickets"][0]
    queue["frame"][due] = frame
    state["due"][0] = due + 1
    state["tickets"][0] += 1
    _rise(queue, due)
    return frame, count, first, queue["end_s"][0]


@jit
def settle(node, until_s, where):
    """Decide every arrival at *node* that began by *until_s*, which is now or the end of the run."""
    _settle(node, until_s, where)


@jit
def busy(node, now_s, where):
    """Whether *node*, which does not send, receives, or senses more than the carrier threshold of all that is arriving here now."""
    _settle(node, now_s, where)
    nodes = nodes_in(where)
    if nodes["locked_until_s"][node] > now_s:
        return True
    total = 0.0
    for i in range(_around(node, now_s, now_s, where)):
        if not near_in(where)["own"][i]:
            total += near_in(where)["power"][i]
    return total > settings_in(where)["carrier"][0] * nodes["noise"][node]


class Kernel(NamedTuple):
    """The decisions, in one of two forms."""

    advance: Callable[..., Any]
    send: Callable[..., Any]
    settle: Callable[..., Any]
    busy: Callable[..., Any]
    where: Callable[[Room], tuple[Any, Any]]
    """What the functions are given of a room, and what has to be kept while they are."""


def _itself(room: Room) -> tuple[Room, Room]:
    return room, room


def _address(room: Room) -> tuple[int, Any]:
    numbers = plan(room)
    return numbers.ctypes.data, numbers


PLAIN = Kernel(advance, send, settle, busy, _itself)

SIGNATURES = {
    "advance": "(float64, float64, int64)", "send": "(float64, float64, int64, int64, int64, int64, int64, int64)",
    "settle": "(int64, float64, int64)", "busy": "(int64, float64, int64)",
}


@cache
def compiled() -> Kernel:
    """The same functions compiled by numba (some seconds the first time, then kept on disk).

    This file is loaded a second time, under another name, with every function compiled where it is defined; so the plain functions stay
    plain, and compiled ones call compiled ones. What is called from outside has one signature, and is called without the dispatcher, which
    would look up the types of all arguments each time.
    """
    name = f"{__name__}_compiled"
    spec = importlib.util.spec_from_file_location(name, __file__)
    if spec is None or spec.loader is None:
        raise ImportError(f"{__file__} cannot be loaded a second time")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    entries = {}
    with _alone():
        spec.loader.exec_module(module)
        for function, signature in SIGNATURES.items():
            dispatcher = getattr(module, function)
            dispatcher.compile(signature)
            entries[function] = next(iter(dispatcher.overloads.values())).entry_point
    return Kernel(**entries, where=_address)


@contextmanager
def _alone() -> Iterator[None]:
    """Let one process compile at a time, and those that load what lies on disk wait for it.

    Of two that compile at once, numba lets each write over what the other keeps: the next one to load it fails.
    """
    with Path(__file__).open() as source:
        if fcntl is not None:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(source, fcntl.LOCK_SH if _is_on_disk() else fcntl.LOCK_EX)
        yield


def is_at_hand() -> bool:
    """Whether the compiled functions are loaded, or lie on disk from before."""
    return compiled.cache_info().currsize > 0 or _is_on_disk()


@cache
def _is_on_disk() -> bool:
    place = os.environ.get("NUMBA_CACHE_DIR")
    folder = Path(__file__).parent / "__pycache__" if place is None else Path(place)
    written_s = Path(__file__).stat().st_mtime
    last = list(SIGNATURES)[-1]  # compiled when all others are
    return any(file.stat().st_mtime >= written_s for file in folder.rglob(f"{Path(__file__).stem}.{last}-*.nbi"))
