"""The physical layer as plain functions over arrays: which frame a receiver locks on, which is decoded, when the channel is sensed busy.

Frames in flight are kept in a ring buffer, oldest first.

    ring     (8,) counters of the ring buffer (constants below)
    frames   (fields, rows) one column per frame; three fields hold the event queue, one a scratch list
    water    (3, n, rows) each frame at each node: start of the arrival in s, received intensity in uPa^2, end of what was heard in s
    order    (rows, n) the receivers that could lock on a frame, nearest first
    status   (n, rows) state of each arrival (constants below); WEAK in rows without a frame
    nodes    (2, n) the row that each receiver locked on last, or -1; the seconds it has spent receiving
    noise    (n,) noise intensity in uPa^2
    settings levels and rates, followed by the table ln(-ln(1 - BER)) over Eb/N0 (`modulation.SuccessTable`)
    draws    uniform random numbers, used from the last to the first
    reasons  per packet the code of its last drop reason
    book     rows of the ledger, one per reception (`toolkit.core.row_buffer.BLOCK_ROW`); tally (2,): rows in use, rows there are

The event queue is a binary heap of the frames that are still arriving somewhere, by the end of their next arrival. An arrival that begins
causes no event. Decisions are made when an arrival ends, or when its node starts to send or to sense, in the order in which the arrivals
began. Interferers therefore cost no event of their own, and the results are those of one process per arrival. `advance` handles all ends
up to a given time and stops at every frame that is decoded, since somebody has to be told. numba compiles the functions as they are
(`compiled`).
"""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

jit: Any = lambda function: function  # noqa: E731 - the plain form leaves functions as they are
if __name__.endswith("_compiled"):  # see `compiled`
    import numba

    jit = numba.njit(cache=True, error_model="numpy")


# State of an arrival: too weak; undecided; locked on; then why reception never began or broke off.
WEAK, PENDING, LOCKED, BUSY, HALF_DUPLEX, UNDETECTED, CAPTURED, ABORTED = range(8)

# Outcome of a reception, as codes of strings.
UNTOLD, DELIVERED, NOISE, COLLISION, DEAF = range(5)
OUTCOMES = ("", "delivered", "noise", "collision", "half_duplex")

# `ring`: numbers of the oldest and the next frame; length of the event queue; sequence numbers given out, which break ties; draws left;
# receptions decoded; whether every reception is reported, or only those that decode.
HEAD, TAIL, CALENDAR, TICKET, DRAWS, DECODED, TELL = range(7)

# Fields of `frames`: start and duration in s, sender, bits, receiver, bytes, code of its kind, packet; the place of its next receiver in
# `order`, and how many there are; when its row is free again; times, sequence numbers and rows of the event queue; a scratch list of rows.
T0, DUR, SRC, BITS, DST, NBYTES, KIND, PACKET, NEXT, RECEIVERS, EXPIRY, DUE, DUE_TICKET, DUE_ROW, NEAR = range(15)
FIELDS = 15

START, POWER, HEARD_TO = range(3)  # of `water`
LOCK, RX_S = range(2)  # of `nodes`

# Entries of the settings vector (ratios are linear); the table begins at TABLE.
DETECT, CAPTURE, CARRIER, EBN0_GAIN_DB, TABLE_LOW_DB, TABLE_STEP_DB, PIECEWISE, RX_W, LONGEST_S, TABLE = range(10)

# What `advance` stops for: nothing more is due; it needs draws, or room for rows; a frame has left the water (bit 4), a reception is
# to be told (bit 8).
IDLE, NO_DRAWS, NO_ROOM, OVER, TOLD = 0, 1, 2, 4, 8


@jit
def _before(frames, a, b):
    """Whether place *a* of the event queue comes before place *b*."""
    if frames[DUE, a] != frames[DUE, b]:
        return frames[DUE, a] < frames[DUE, b]
    return frames[DUE_TICKET, a] < frames[DUE_TICKET, b]


@jit
def _swap(frames, a, b):
    for field in (DUE, DUE_TICKET, DUE_ROW):
        frames[field, a], frames[field, b] = frames[field, b], frames[field, a]


@jit
def enter(ring, frames, due_s, row):
    """Put a frame into the event queue."""
    place = ring[CALENDAR]
    frames[DUE, place] = due_s
    frames[DUE_TICKET, place] = ring[TICKET]
    frames[DUE_ROW, place] = row
    ring[CALENDAR] += 1
    ring[TICKET] += 1
    while place > 0 and _before(frames, place, (place - 1) // 2):
        _swap(frames, place, (place - 1) // 2)
        place = (place - 1) // 2


@jit
def _sink(ring, frames):
    """Restore the heap after its first entry has changed."""
    place, size = 0, ring[CALENDAR]
    while True:
        first = place
        for below in (2 * place + 1, 2 * place + 2):
            if below < size and _before(frames, below, first):
                first = below
        if first == place:
            return
        _swap(frames, place, first)
        place = first


@jit
def _leave(ring, frames):
    """Take the first frame out of the event queue."""
    ring[CALENDAR] -= 1
    _swap(frames, 0, ring[CALENDAR])
    _sink(ring, frames)


@jit
def _next_s(ring, frames):
    """When the next arrival ends."""
    return frames[DUE, 0] if ring[CALENDAR] > 0 else np.inf


@jit
def _around(node, low_s, high_s, ring, frames, water):
    """List in `NEAR`, in order of sending, the frames that begin at *node* by *high_s* and end after *low_s*; return how many."""
    start, dur, near = water[START, node], frames[DUR], frames[NEAR]
    rows = len(dur)
    s = ring[HEAD] % rows
    found = 0
    for _ in range(ring[TAIL] - ring[HEAD]):
        if start[s] <= high_s and start[s] + dur[s] > low_s:
            near[found] = s
            found += 1
        s += 1
        if s == rows:
            s = 0
    return found


@jit
def _decide(node, until_s, found, frames, water, status, nodes, noise, settings):
    """Decide, in order of their start, every arrival at *node* that began by *until_s*; `NEAR` lists *found* frames around them.

    A receiver that is idle locks on the first arrival whose preamble it can detect against everything else that arrives; a later one takes
    over only when it is stronger by the capture ratio. A node that sends hears nothing.
    """
    start, power, heard_to = water[START, node], water[POWER, node], water[HEARD_TO, node]
    near, dur, state = frames[NEAR], frames[DUR], status[node]
    while True:
        new = -1
        t_s = np.inf
        for i in range(found):
            s = int(near[i])
            if state[s] == PENDING and start[s] <= until_s and start[s] < t_s:
                new = s
                t_s = start[s]
        if new < 0:
            return
        interference = 0.0
        sending = False
        next_send_s = np.inf
        for i in range(found):
            s = int(near[i])
            if int(frames[SRC, s]) == node:
                if frames[T0, s] <= t_s < frames[T0, s] + dur[s]:
                    sending = True
                elif t_s < frames[T0, s] < next_send_s:
                    next_send_s = frames[T0, s]
            elif s != new and start[s] <= t_s < start[s] + dur[s]:
                interference += power[s]
        current = int(nodes[LOCK, node])
        if current >= 0 and heard_to[current] <= t_s:
            current = -1
        if sending:
            state[new] = HALF_DUPLEX
        elif current >= 0 and power[new] < settings[CAPTURE] * power[current]:
            state[new] = BUSY
        elif power[new] < settings[DETECT] * (noise[node] + interference):
            state[new] = UNDETECTED
        else:
            if current >= 0:
                state[current] = CAPTURED
                heard_to[current] = t_s
            end_s = t_s + dur[new]
            nodes[LOCK, node] = new
            if next_send_s < end_s:
                state[new] = ABORTED
                heard_to[new] = next_send_s
            else:
                state[new] = LOCKED
                heard_to[new] = end_s


@jit
def settle(node, until_s, ring, frames, water, order, status, nodes, noise, settings):
    """Decide every arrival at *node* that began by *until_s*, which is now or the end of the run."""
    found = _around(node, until_s - settings[LONGEST_S] - 1e-6, until_s, ring, frames, water)
    _decide(node, until_s, found, frames, water, status, nodes, noise, settings)


@jit
def _decode(node, row, draw, found, frames, water, noise, settings):
    """Return (outcome, mean SINR in dB) of a locked arrival that ended; `NEAR` lists *found* frames around it.

    Interference is constant between the starts and ends of the other arrivals; the frame survives when its bits survive in every
    such piece (or, with `PIECEWISE` 0, at the mean interference). One uniform *draw* decides; a frame that the same draw would
    have carried through the noise alone is a collision.
    """
    table = settings[TABLE:]

    def bit_loss(snr):
        place = (10.0 * math.log10(snr) + settings[EBN0_GAIN_DB] - settings[TABLE_LOW_DB]) / settings[TABLE_STEP_DB]
        place = min(max(place, 0.0), len(table) - 1.0)
        low = min(int(place), len(table) - 2)
        return math.exp(table[low] + (place - low) * (table[low + 1] - table[low]))

    start, power, near, dur = water[START, node], water[POWER, node], frames[NEAR], frames[DUR]
    dur_s = dur[row]
    end_s = start[row] + dur_s
    bits = frames[BITS, row]
    signal = power[row]
    loss = 0.0
    mean_interference = 0.0
    t_s = start[row]
    while t_s < end_s:
        interference = 0.0
        next_s = end_s
        for i in range(found):
            s = int(near[i])
            if s == row or power[s] <= 0.0:
                continue
            other_s = start[s]
            if other_s <= t_s:
                stop_s = other_s + dur[s]
                if stop_s > t_s:
                    interference += power[s]
                    next_s = min(next_s, stop_s)
            elif other_s < next_s:
                next_s = other_s
        share = (next_s - t_s) / dur_s
        mean_interference += share * interference
        if settings[PIECEWISE] > 0.0:
            loss += share * bits * bit_loss(signal / (noise[node] + interference))
        t_s = next_s
    if settings[PIECEWISE] <= 0.0:
        loss = bits * bit_loss(signal / (noise[node] + mean_interference))
    sinr_db = 10.0 * math.log10(signal / (noise[node] + mean_interference))
    if draw < math.exp(-loss):
        return DELIVERED, sinr_db
    alone = bits * bit_loss(signal / noise[node])
    if mean_interference > 0.0 and draw < math.exp(-alone):
        return COLLISION, sinr_db
    return NOISE, sinr_db


@jit
def advance(now_s, limit_s, ring, frames, water, order, status, nodes, noise, settings, draws, reasons, book, tally):
    """Take the arrivals that end before *limit_s* (or now), one after the other, until somebody has to be told.

    Returns (what it stopped for, row, node, time in s, outcome, mean SINR in dB, NaN where the modem did not listen to the end, and
    when the next arrival ends).
    """
    while ring[CALENDAR] > 0 and (frames[DUE, 0] < limit_s or frames[DUE, 0] <= now_s):
        due_s, row = frames[DUE, 0], int(frames[DUE_ROW, 0])
        if frames[RECEIVERS, row] == 0.0:
            _leave(ring, frames)
            return OVER, row, -1, due_s, UNTOLD, np.nan, _next_s(ring, frames)
        if tally[0] >= tally[1]:
            return NO_ROOM, row, -1, now_s, UNTOLD, np.nan, due_s
        if ring[DRAWS] == 0:
            return NO_DRAWS, row, -1, now_s, UNTOLD, np.nan, due_s
        node = order[row, int(frames[NEXT, row])]
        begin_s = water[START, node, row]
        end_s = begin_s + frames[DUR, row]
        found = _around(node, due_s - settings[LONGEST_S] - 1e-6, max(due_s, end_s), ring, frames, water)
        _decide(node, due_s, found, frames, water, status, nodes, noise, settings)  # a later frame may have taken the receiver
        state = status[node, row]
        until_s = water[HEARD_TO, node, row]
        sinr_db = np.nan
        outcome = COLLISION
        if state == LOCKED:
            until_s = due_s
            ring[DRAWS] -= 1
            ring[DECODED] += 1
            outcome, sinr_db = _decode(node, row, draws[ring[DRAWS]], found, frames, water, noise, settings)
        elif state in (HALF_DUPLEX, ABORTED):
            outcome = DEAF
        dur_s = max(0.0, until_s - begin_s)
        nodes[RX_S, node] += dur_s
        packet = int(frames[PACKET, row])
        if outcome != DELIVERED and packet >= 0 and (frames[DST, row] == -1 or frames[DST, row] == node):
            reasons[packet] = outcome
        line = book[tally[0]]
        tally[0] += 1
        line["t0_s"] = begin_s
        line["dur_s"] = dur_s
        line["energy_j"] = dur_s * settings[RX_W]
        line["node"] = node
        line["peer"] = int(frames[SRC, row])
        line["nbytes"] = int(frames[NBYTES, row])
        line["packet"] = packet
        line["phase"] = int(frames[KIND, row])
        line["outcome"] = outcome
        frames[NEXT, row] += 1.0
        told = OVER
        if frames[NEXT, row] == frames[RECEIVERS, row]:
            _leave(ring, frames)
        else:
            told = IDLE
            following = order[row, int(frames[NEXT, row])]
            gap_s = water[START, following, row] + frames[DUR, row] - due_s
            frames[DUE, 0] = due_s + max(0.0, gap_s)
            frames[DUE_TICKET, 0] = ring[TICKET]
            ring[TICKET] += 1
            _sink(ring, frames)
        if outcome == DELIVERED or ring[TELL] != 0:
            told += TOLD
        if told != IDLE:
            return told, row, node, due_s, outcome, sinr_db, _next_s(ring, frames)
    return IDLE, -1, -1, now_s, UNTOLD, np.nan, _next_s(ring, frames)


@jit
def send(
    now_s, dur_s, node, dst, nbytes, kind, packet, delay, gain, fades, ring, frames, water, order, status, nodes, noise, settings
):
    """Node *node* begins a frame: what it was receiving breaks off, and the frame's arrivals are laid out.

    *delay* (n,) in s, *gain* (n,) in uPa^2 and *fades* (n,) belong to this sender. Its row is needed until nothing that overlaps with its
    last arrival can be undecided.
    Returns (row, receivers that could lock, when the event queue is next due); row -1 when there is no room for one more.
    """
    settings[LONGEST_S] = max(settings[LONGEST_S], dur_s)
    settle(node, now_s, ring, frames, water, order, status, nodes, noise, settings)
    current = int(nodes[LOCK, node])
    if current >= 0 and status[node, current] == LOCKED and water[HEARD_TO, node, current] > now_s:
        status[node, current] = ABORTED
        water[HEARD_TO, node, current] = now_s
    rows = order.shape[0]
    while ring[HEAD] < ring[TAIL] and frames[EXPIRY, ring[HEAD] % rows] < now_s:
        old = ring[HEAD] % rows
        for i in range(int(frames[RECEIVERS, old])):
            j = order[old, i]
            status[j, old] = WEAK
            if int(nodes[LOCK, j]) == old:
                nodes[LOCK, j] = -1.0
        ring[HEAD] += 1
    if ring[TAIL] - ring[HEAD] == rows:
        return -1, 0, np.inf
    row = ring[TAIL] % rows
    ring[TAIL] += 1
    receivers = order[row]
    count = 0
    last_s = now_s
    for j in range(len(noise)):
        start_s = delay[j] + now_s
        last_s = max(last_s, start_s)
        power = gain[j] * fades[j]
        water[START, j, row] = start_s
        water[POWER, j, row] = power
        if power >= settings[DETECT] * noise[j]:
            status[j, row] = PENDING
            water[HEARD_TO, j, row] = 0.0
            place = count
            while place > 0 and water[START, receivers[place - 1], row] > start_s:
                receivers[place] = receivers[place - 1]
                place -= 1
            receivers[place] = j
            count += 1
    frames[T0, row] = now_s
    frames[DUR, row] = dur_s
    frames[SRC, row] = node
    frames[BITS, row] = 8.0 * nbytes
    frames[DST, row] = dst
    frames[NBYTES, row] = nbytes
    frames[KIND, row] = kind
    frames[PACKET, row] = packet
    frames[NEXT, row] = 0.0
    frames[RECEIVERS, row] = count
    frames[EXPIRY, row] = last_s + dur_s + 2.0 * settings[LONGEST_S]
    end_s = water[START, receivers[0], row] + dur_s if count > 0 else now_s + dur_s
    enter(ring, frames, now_s + max(0.0, end_s - now_s), row)
    return row, count, frames[DUE, 0]


@jit
def busy(node, now_s, ring, frames, water, order, status, nodes, noise, settings):
    """Whether *node*, which does not send, receives, or senses more than the carrier threshold of all that is arriving here now."""
    settle(node, now_s, ring, frames, water, order, status, nodes, noise, settings)
    current = int(nodes[LOCK, node])
    if current >= 0 and water[HEARD_TO, node, current] > now_s:
        return True
    total = 0.0
    for i in range(_around(node, now_s, now_s, ring, frames, water)):
        total += water[POWER, node, int(frames[NEAR, i])]
    return total > settings[CARRIER] * noise[node]


class Kernel(NamedTuple):
    """The decisions, in one of two forms."""

    advance: Callable[..., Any]
    send: Callable[..., Any]
    settle: Callable[..., Any]
    busy: Callable[..., Any]


PLAIN = Kernel(advance, send, settle, busy)


@cache
def compiled() -> Kernel:
    """The same functions compiled by numba (some seconds the first time, then kept on disk).

    This file is loaded a second time, under another name, with every function compiled where it is defined; so the plain functions stay
    plain, and compiled ones call compiled ones.
    """
    name = f"{__name__}_compiled"
    spec = importlib.util.spec_from_file_location(name, __file__)
    if spec is None or spec.loader is None:
        raise ImportError(f"{__file__} cannot be loaded a second time")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return Kernel(module.advance, module.send, module.settle, module.busy)
