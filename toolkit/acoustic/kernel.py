"""The decisions of the physical layer, as plain functions over arrays: who locks on what, what decodes, what is sensed.

Frames in the water live in the rows of a ring; row s, column j of the arrays is the arrival of frame s at node j:

    ring     (2,) head and tail of the ring as running counts; row = count modulo the number of rows
    frames   (rows, 4) start of sending in s, duration in s, sender, bits
    start    (rows, n) when the arrival begins at each node, in s
    power    (rows, n) received intensity in uPa^2
    status   (rows, n) what became of it (constants below)
    heard_to (rows, n) until when the receiver listened to it, in s
    lock     (n,) the row each receiver locked on last, or -1
    noise    (n,) noise intensity in uPa^2

Nothing is decided when an arrival begins: decisions fall when one ends, or when its node starts to send or to sense, and then in
the order in which the arrivals began. That needs one event per decodable arrival and none per interferer, and gives the answers
that one process per arrival would give. numba can compile the functions as they are (`compiled`).
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

    jit = numba.njit(cache=True)


# Status of an arrival: not decodable; undecided; received; and the ways in which reception never began or broke off.
WEAK, PENDING, LOCKED, BUSY, HALF_DUPLEX, DROWNED, CAPTURED, ABORTED = range(8)

# Columns of `frames`.
T0, DUR, SRC, BITS = range(4)

# Entries of the settings vector (ratios are linear).
DETECT, CAPTURE, CARRIER, EBN0_GAIN_DB, TABLE_LOW_DB, TABLE_STEP_DB, PIECEWISE = range(7)

# Outcomes of a reception.
DELIVERED, NOISE, COLLISION = range(3)


@jit
def settle(ring, node, until_s, frames, start, power, status, heard_to, lock, noise, settings):  # type: ignore[no-untyped-def]
    """Decide, in order of their start, every arrival at *node* that began by *until_s*.

    A receiver that is idle locks on the first arrival whose preamble it can detect in what else is in the water; a later one takes
    over only when it is stronger by the capture ratio. A node that sends hears nothing.
    """
    head, tail, rows = ring[0], ring[1], start.shape[0]
    while True:
        new = -1
        t_s = np.inf
        for count in range(head, tail):
            s = count % rows
            if status[s, node] == PENDING and start[s, node] <= until_s and start[s, node] < t_s:
                new = s
                t_s = start[s, node]
        if new < 0:
            return
        interference = 0.0
        sending = False
        next_send_s = np.inf
        for count in range(head, tail):
            s = count % rows
            if int(frames[s, SRC]) == node:
                if frames[s, T0] <= t_s < frames[s, T0] + frames[s, DUR]:
                    sending = True
                elif t_s < frames[s, T0] < next_send_s:
                    next_send_s = frames[s, T0]
            elif s != new and start[s, node] <= t_s < start[s, node] + frames[s, DUR]:
                interference += power[s, node]
        current = lock[node]
        if current >= 0 and heard_to[current, node] <= t_s:
            current = -1
        if sending:
            status[new, node] = HALF_DUPLEX
        elif current >= 0 and power[new, node] < settings[CAPTURE] * power[current, node]:
            status[new, node] = BUSY
        elif power[new, node] < settings[DETECT] * (noise[node] + interference):
            status[new, node] = DROWNED
        else:
            if current >= 0:
                status[current, node] = CAPTURED
                heard_to[current, node] = t_s
            end_s = t_s + frames[new, DUR]
            lock[node] = new
            if next_send_s < end_s:
                status[new, node] = ABORTED
                heard_to[new, node] = next_send_s
            else:
                status[new, node] = LOCKED
                heard_to[new, node] = end_s


@jit
def decode(ring, node, row, draw, frames, start, power, noise, settings, table):  # type: ignore[no-untyped-def]
    """Return (outcome, mean SINR in dB) of a locked arrival that ended.

    Interference is constant between the starts and ends of the other arrivals; the frame survives when its bits survive in every
    such piece (or, with `PIECEWISE` 0, at the mean interference). One uniform *draw* decides; a frame that the same draw would
    have carried through the noise alone is a collision. *table* holds ln(-ln(1 - BER)) over Eb/N0 (`modulation.SuccessTable`).
    """

    def bit_loss(snr):  # type: ignore[no-untyped-def]
        place = (10.0 * math.log10(snr) + settings[EBN0_GAIN_DB] - settings[TABLE_LOW_DB]) / settings[TABLE_STEP_DB]
        place = min(max(place, 0.0), len(table) - 1.0)
        low = min(int(place), len(table) - 2)
        return math.exp(table[low] + (place - low) * (table[low + 1] - table[low]))

    head, tail, rows = ring[0], ring[1], start.shape[0]
    dur_s = frames[row, DUR]
    end_s = start[row, node] + dur_s
    bits = frames[row, BITS]
    signal = power[row, node]
    loss = 0.0
    mean_interference = 0.0
    t_s = start[row, node]
    while t_s < end_s:
        interference = 0.0
        next_s = end_s
        for count in range(head, tail):
            s = count % rows
            if s == row or power[s, node] <= 0.0:
                continue
            other_s = start[s, node]
            if other_s <= t_s:
                stop_s = other_s + frames[s, DUR]
                if stop_s > t_s:
                    interference += power[s, node]
                    next_s = min(next_s, stop_s)
            elif other_s < next_s:
                next_s = other_s
        share = (next_s - t_s) / dur_s
        mean_interference += share * interference
        if settings[PIECEWISE] > 0.0:
            loss += share * bits * bit_loss(signal / (noise[node] + interference))  # type: ignore[no-untyped-call]
        t_s = next_s
    if settings[PIECEWISE] <= 0.0:
        loss = bits * bit_loss(signal / (noise[node] + mean_interference))  # type: ignore[no-untyped-call]
    sinr_db = 10.0 * math.log10(signal / (noise[node] + mean_interference))
    if draw < math.exp(-loss):
        return DELIVERED, sinr_db
    alone = bits * bit_loss(signal / noise[node])  # type: ignore[no-untyped-call]
    if mean_interference > 0.0 and draw < math.exp(-alone):
        return COLLISION, sinr_db
    return NOISE, sinr_db


@jit
def receive(ring, node, row, draw, frames, start, power, status, heard_to, lock, noise, settings, table):  # type: ignore[no-untyped-def]
    """An arrival ended: decide it, and decode it if it was received to its end.

    Returns (status, outcome, mean SINR in dB, when it began in s, until when it was listened to in s); *draw* is used up by a decoding
    alone, which status LOCKED tells.
    """
    if status[row, node] == PENDING:
        settle(ring, node, start[row, node], frames, start, power, status, heard_to, lock, noise, settings)
    outcome = COLLISION
    sinr_db = 0.0
    if status[row, node] == LOCKED:
        outcome, sinr_db = decode(ring, node, row, draw, frames, start, power, noise, settings, table)
    return status[row, node], outcome, sinr_db, start[row, node], heard_to[row, node]


@jit
def present_power(ring, node, now_s, frames, start, power):  # type: ignore[no-untyped-def]
    """Return the intensity in uPa^2 of all frames that are arriving at *node* now."""
    rows = start.shape[0]
    total = 0.0
    for count in range(ring[0], ring[1]):
        s = count % rows
        if start[s, node] <= now_s < start[s, node] + frames[s, DUR]:
            total += power[s, node]
    return total


class Kernel(NamedTuple):
    """The decisions, in one of two forms."""

    settle: Callable[..., Any]
    receive: Callable[..., Any]
    present_power: Callable[..., Any]


PLAIN = Kernel(settle, receive, present_power)


@cache
def compiled() -> Kernel:
    """The same functions compiled by numba (about three seconds the first time, then kept on disk).

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
    return Kernel(module.settle, module.receive, module.present_power)
