"""How a function gets at an array of the room, in both forms; and `jit`, by which it is compiled in one of them.

The plain form is given the room itself, the compiled one the address of its plan (`records.plan`).
"""

from __future__ import annotations

import importlib
from operator import attrgetter
from typing import Any

import numpy as np

from .records import ARRAYS, LAYOUT, TABLES, Room

COMPILED = "_compiled." in __name__  # see `forms.compiled`
jit: Any = lambda function: function  # noqa: E731 - the plain form leaves functions as they are
if COMPILED:
    from numba.core import types
    from numba.extending import intrinsic

    numba: Any = importlib.import_module("numba")
    jit = numba.njit(error_model="numpy")

    def _as_pointer(typing_context, address):
        """A number as an address."""

        def generate(context, builder, signature, arguments):
            return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

        return types.voidptr(types.int64), generate

    _pointer: Any = intrinsic(_as_pointer)

    def _array(name):
        """Return a function that lays one array over the memory that a plan tells of."""
        place, dtype = 3 * Room._fields.index(name), getattr(LAYOUT, name)

        def table(where):
            plan = numba.carray(_pointer(where), (3 * ARRAYS,), np.int64)
            return numba.carray(_pointer(plan[place]), (plan[place + 1], plan[place + 2]), dtype)

        def line(where):
            plan = numba.carray(_pointer(where), (3 * ARRAYS,), np.int64)
            return numba.carray(_pointer(plan[place]), (plan[place + 1],), dtype)

        return jit(table if name in TABLES else line)

else:
    _array = attrgetter

state_in, settings_in, table_in, flights_in, frames_in = map(_array, ("state", "settings", "table", "flights", "frames"))
hearers_in, fades_in, supply_in, queue_in, nodes_in = map(_array, ("hearers", "fades", "supply", "queue", "nodes"))
arrivals_in, near_in, delay_in, drift_in, gain_in = map(_array, ("arrivals", "near", "delay_s", "drift", "gain"))
place_in, span_in, reach_in, target_in, power_in = map(_array, ("place", "span_s", "reach", "target", "power"))
strong_in, strong_target_in, strong_power_in = map(_array, ("strong", "strong_target", "strong_power"))
beside_in, crowds_in, sent_in, sent_for_in = map(_array, ("beside", "crowds", "sent_s", "sent_for_s"))
sent_x_in, sent_y_in, sent_z_in, sent_frame_in = map(_array, ("sent_x_m", "sent_y_m", "sent_z_m", "sent_frame"))
hits_in = _array("hits")
draws_in, reasons_in, afloat_in, muted_in = map(_array, ("draws", "reasons", "afloat", "muted"))
rows_in, tally_in = map(_array, ("rows", "tally"))
