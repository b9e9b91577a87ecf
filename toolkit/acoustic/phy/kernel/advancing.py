"""What the medium asks for as time goes on: the arrivals that end, and what a node senses."""

from __future__ import annotations

import numpy as np

from .access import flights_in, frames_in, hearers_in, jit, near_in, nodes_in, queue_in, settings_in, state_in, tally_in
from .deciding import settle
from .due import sink
from .receiving import is_muted, leaves, receive
from .records import DECODED, DELIVERED, IDLE, NO_DRAWS, NO_ROWS, OVER, SEEN_DECODED, SEEN_FAILED
from .surroundings import around


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
            outcome, sinr_db = receive(frame, node, due_s, where)
            if observed:
                told = SEEN_DECODED if outcome == DELIVERED else SEEN_FAILED
            elif outcome == DELIVERED and not is_muted(frames["packet"][row], node, due_s, where):
                told = DECODED
        heard += 1
        frames["heard"][row] = heard
        if heard >= frames["hearers"][row]:
            over = leaves(row, where)
            if over and told == IDLE:
                told = OVER
        else:
            gap_s = hearers_in(where)["start_s"][row, heard] + flights_in(where)["dur_s"][row] - due_s
            end_s[0] = due_s + max(0.0, gap_s)
            queue["ticket"][0] = state["tickets"][0]
            state["tickets"][0] += 1
            sink(queue, due[0])
        if told != IDLE:
            return told, frame, node, over, due_s, sinr_db, end_s[0] if due[0] > 0 else np.inf
    return IDLE, -1, -1, False, now_s, np.nan, end_s[0] if due[0] > 0 else np.inf


@jit
def busy(node, now_s, where):
    """Whether *node*, which does not send, receives, or senses more than the carrier threshold of all that is arriving here now."""
    settle(node, now_s, where)
    nodes = nodes_in(where)
    if nodes["locked_until_s"][node] > now_s:
        return True
    total = 0.0
    for i in range(around(node, now_s, now_s, where)):
        if not near_in(where)["own"][i]:
            total += near_in(where)["power"][i]
    return total > settings_in(where)["carrier"][0] * nodes["noise"][node]
