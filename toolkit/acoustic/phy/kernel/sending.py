"""A frame begins: its arrivals are laid out where somebody could lock on it, and its row is written."""

from __future__ import annotations

import numpy as np

from .access import (
    afloat_in,
    arrivals_in,
    crowds_in,
    delay_in,
    drift_in,
    fades_in,
    flights_in,
    frames_in,
    gain_in,
    hearers_in,
    jit,
    nodes_in,
    power_in,
    queue_in,
    reach_in,
    sent_for_in,
    sent_frame_in,
    sent_in,
    sent_x_in,
    sent_y_in,
    sent_z_in,
    settings_in,
    state_in,
    strong_in,
    strong_power_in,
    strong_target_in,
    supply_in,
    tally_in,
    target_in,
)
from .deciding import settle
from .due import rise
from .receiving import write
from .records import ABORTED, LOCKED, NO_ARRIVAL, NO_CROWD, NO_FADES, NO_FRAME, NO_ROW, PENDING
from .surroundings import find
from .way import way_s


@jit
def lay_out(frame, node, now_s, dur_s, where):
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
                    start_s = way_s(slot, node, j, since_s, where)
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
                _let_arrive(frame, j, way_s(slot, node, j, since_s, where) + now_s, dur_s, power, count, where)
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
    settle(node, now_s, where)
    if nodes["locked_until_s"][node] > now_s:
        place = find(node, nodes["locked"][node], where)
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
    count = lay_out(frame, node, now_s, dur_s, where)
    frames["hearers"][row] = count
    frames["heard"][row] = 0
    first = packet >= 0 and afloat[packet] == 0
    if packet >= 0:
        afloat[packet] += 1
    sent_s = min(dur_s, settings["end_s"][0] - now_s)
    nodes["tx_s"][node] += sent_s
    write(settings["tx"][0], now_s, sent_s, settings["tx_w"][0], node, dst, row, settings["sent"][0], where)
    end_s = hearers_in(where)["start_s"][row, 0] + dur_s if count > 0 else now_s + dur_s
    due = state["due"][0]
    queue["end_s"][due] = now_s + max(0.0, end_s - now_s)
    queue["ticket"][due] = state["tickets"][0]
    queue["frame"][due] = frame
    state["due"][0] = due + 1
    state["tickets"][0] += 1
    rise(queue, due)
    return frame, count, first, queue["end_s"][0]
