"""What arrives at one node: what it could lock on, and the frames in the water that overlap with that."""

from __future__ import annotations

import numpy as np

from .access import (
    arrivals_in,
    beside_in,
    crowds_in,
    flights_in,
    hits_in,
    jit,
    near_in,
    nodes_in,
    sent_for_in,
    sent_frame_in,
    sent_in,
    sent_x_in,
    sent_y_in,
    sent_z_in,
    settings_in,
    state_in,
)
from .records import BLOCK
from .way import arrives_at_s, power_of


@jit
def find(node, frame, where):
    """The place of *frame* among the arrivals at *node*; -1 if it is not there."""
    number = arrivals_in(where)["frame"]
    place = nodes_in(where)["arrivals"][node] - 1
    while place >= 0 and number[node, place] != frame:
        place -= 1
    return place


@jit
def around(node, low_s, high_s, where):
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
def _consider(frame, node, low_s, high_s, found, where):
    """List *frame* in `near`, among the *found* ones, if it overlaps at *node*; return how many there are."""
    near, here = near_in(where), arrivals_in(where)[node]
    known = find(node, frame, where)  # of what the node could lock on, all is at hand
    if known >= 0:
        own, start_s, end_s, power = False, here["start_s"][known], here["end_s"][known], here["power"][known]
    else:
        flights = flights_in(where)
        row = frame % len(flights)
        own = flights["src"][row] == node
        start_s = arrives_at_s(row, node, where)
        end_s = start_s + flights["dur_s"][row]
        power = 0.0
    if start_s > high_s or end_s <= low_s:
        return found
    if known < 0 and not own:
        power = power_of(row, node, where)
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
