"""The physical layer as plain functions over records: which frame a receiver locks on, which is decoded, when the channel is sensed busy.

All state lies in the arrays of a `Room`. A frame has a number, counted from 0 on, by which everything knows it; its records lie in rings,
at that number modulo their length. Each node keeps the arrivals that it could lock on; those that only interfere are never laid out: when
a reception is looked at, the frames still in the water around are asked whether they overlap with it there.

The event queue is a binary heap of the frames that are still arriving somewhere, by the end of their next arrival. An arrival that begins
causes no event. Decisions are made when an arrival ends, or when its node starts to send or to sense, in the order in which the arrivals
began. Interferers therefore cost no event of their own, and the results are those of one process per arrival. `advance` handles all ends
up to a given time and stops where somebody has to be told. numba compiles the functions as they are (`forms.compiled`).
"""

from __future__ import annotations

from .forms import PLAIN, Kernel, compiled, is_at_hand
from .records import (
    ABORTED,
    ARRIVAL,
    BLOCK,
    BUSY,
    CAPTURED,
    DECODED,
    DUE,
    FLIGHT,
    FRAME,
    HALF_DUPLEX,
    HEARER,
    IDLE,
    LAYOUT,
    LOCKED,
    MUTED,
    NEAR,
    NO_ARRIVAL,
    NO_CROWD,
    NO_DRAWS,
    NO_FADES,
    NO_FRAME,
    NO_ROW,
    NO_ROWS,
    NODE,
    OUTCOMES,
    OVER,
    PENDING,
    ROW,
    SEEN_DECODED,
    SEEN_FAILED,
    SETTINGS,
    STATE,
    UNDETECTED,
    Room,
    plan,
)

__all__ = [
    "ABORTED", "ARRIVAL", "BLOCK", "BUSY", "CAPTURED", "DECODED", "DUE", "FLIGHT", "FRAME", "HALF_DUPLEX", "HEARER", "IDLE",
    "LAYOUT", "LOCKED", "MUTED", "NEAR", "NODE", "NO_ARRIVAL", "NO_CROWD", "NO_DRAWS", "NO_FADES", "NO_FRAME", "NO_ROW",
    "NO_ROWS", "OUTCOMES", "OVER", "PENDING", "PLAIN", "ROW", "SEEN_DECODED", "SEEN_FAILED", "SETTINGS", "STATE", "UNDETECTED",
    "Kernel", "Room", "compiled", "is_at_hand", "plan",
]
