"""One link: how long a frame is on its way, and how strongly it arrives."""

from __future__ import annotations

import math

from .access import (
    delay_in,
    drift_in,
    fades_in,
    flights_in,
    gain_in,
    jit,
    nodes_in,
    place_in,
    power_in,
    reach_in,
    settings_in,
    span_in,
    target_in,
)


@jit
def way_s(slot, a, b, since_s, where):
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
def link_of(slot, sender, node, where):
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
def arrives_at_s(row, node, where):
    """When the frame in *row* begins at *node*."""
    flights, drift = flights_in(where), drift_in(where)
    sender, slot = flights["src"][row], flights["slot"][row]
    if len(reach_in(where)) > 0:
        on_way_s = way_s(slot, sender, node, flights["since_s"][row], where)
    else:
        matrix = slot * len(nodes_in(where))
        on_way_s = delay_in(where)[matrix + node, sender]
        if len(drift) > 0:
            on_way_s += drift[matrix + node, sender] * flights["since_s"][row]
    return on_way_s + flights["t0_s"][row]


@jit
def power_of(row, node, where):
    """How strongly the frame in *row* arrives at *node*, which has not sent it; below 0 where that is out of reach."""
    flights, fades = flights_in(where), fades_in(where)
    sender, slot = flights["src"][row], flights["slot"][row]
    if len(reach_in(where)) > 0:
        link = link_of(slot, sender, node, where)
        if link < 0:
            return -1.0
        fade, power = link - reach_in(where)[slot, sender], power_in(where)[slot, link]
    else:
        fade, power = node, gain_in(where)[slot * len(nodes_in(where)) + sender, node]
    if fades.shape[1] > 0:
        power *= fades[row, fade]
    return power
