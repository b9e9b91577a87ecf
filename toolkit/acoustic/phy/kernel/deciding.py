"""Which arrival a receiver locks on, and whether a frame that it listened to is decoded."""

from __future__ import annotations

import math

import numpy as np

from .access import arrivals_in, flights_in, frames_in, jit, near_in, nodes_in, settings_in, state_in, table_in
from .records import ABORTED, BUSY, CAPTURED, COLLISION, DELIVERED, HALF_DUPLEX, LOCKED, NOISE, PENDING, UNDETECTED
from .surroundings import around, find


@jit
def decide(node, until_s, found, where):
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
            taken = find(node, nodes["locked"][node], where) if receiving else -1
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
def settle(node, until_s, where):
    """Decide every arrival at *node* that began by *until_s*, which is now or the end of the run."""
    state = arrivals_in(where)["state"]
    for s in range(nodes_in(where)["arrivals"][node]):
        if state[node, s] == PENDING:
            found = around(node, until_s - state_in(where)["longest_s"][0] - 1e-6, until_s, where)
            decide(node, until_s, found, where)
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
def decode(node, place, draw, found, where):
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
