"""An arrival ends: its row is written, and perhaps somebody has to be told."""

from __future__ import annotations

import numpy as np

from .access import (
    afloat_in,
    arrivals_in,
    draws_in,
    flights_in,
    frames_in,
    jit,
    muted_in,
    nodes_in,
    queue_in,
    reasons_in,
    rows_in,
    settings_in,
    state_in,
    tally_in,
)
from .deciding import decide, decode
from .due import sink, swap
from .records import ABORTED, COLLISION, DEAF, DELIVERED, HALF_DUPLEX, LOCKED, PENDING
from .surroundings import around, find


@jit
def write(kind, t0_s, dur_s, power_w, node, peer, row, outcome, where):
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
def receive(frame, node, due_s, where):
    """The arrival of *frame* at *node* ends at *due_s*: write its row; return (outcome, mean SINR in dB, NaN if not heard to its end)."""
    state, frames, nodes, arrivals, settings = state_in(where), frames_in(where), nodes_in(where), arrivals_in(where), settings_in(where)
    row = frame % len(frames)
    place = find(node, frame, where)
    here = arrivals[node]
    begin_s = here["start_s"][place]
    now = here["state"][place]
    found = 0
    if now in (PENDING, LOCKED):  # if locked: a later frame may have taken the receiver
        found = around(node, due_s - state["longest_s"][0] - 1e-6, max(due_s, here["end_s"][place]), where)
        decide(node, due_s, found, where)
        now = here["state"][place]
    until_s = here["until_s"][place]
    sinr_db = np.nan
    outcome = COLLISION
    if now == LOCKED:
        until_s = due_s
        state["draws"][0] -= 1
        state["decoded"][0] += 1
        outcome, sinr_db = decode(node, place, draws_in(where)[state["draws"][0]], found, where)
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
    write(settings["rx"][0], begin_s, dur_s, settings["rx_w"][0], node, flights_in(where)["src"][row], row, outcome, where)
    return outcome, sinr_db


@jit
def leaves(row, where):
    """The frame in *row* has arrived everywhere; return whether it was the last one of its packet in the water."""
    state, queue, frames, afloat = state_in(where), queue_in(where), frames_in(where), afloat_in(where)
    state["due"][0] -= 1
    swap(queue, 0, state["due"][0])
    sink(queue, state["due"][0])
    packet = frames["packet"][row]
    if packet < 0:
        return False
    afloat[packet] -= 1
    return afloat[packet] == 0


@jit
def is_muted(packet, node, t_s, where):
    """Whether *node* wants no frame of *packet* at present."""
    muted = muted_in(where)
    if packet < 0 or len(muted) == 0:
        return False
    slot = packet % len(muted)
    return muted["packet"][slot, node] == packet and t_s <= muted["until_s"][slot, node]
