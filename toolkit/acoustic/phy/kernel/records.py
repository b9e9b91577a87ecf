"""What the physical layer keeps: the layouts of its records, and the room that holds the arrays of them.

Records lie in rings at the number of their frame modulo the length; what is compared many at a time lies in columns.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

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

TABLES = (
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
