"""What is called from outside, one function each with one signature; compiled, these are what numba keeps on disk.

numba asks whether this file has changed, and tells functions apart by what they close over: those below close over the *stamp* of all
files of the kernel, so that a change in any of them is seen. The functions that they call are kept as parts of them alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from .access import COMPILED
from .advancing import advance as _advance
from .advancing import busy as _busy
from .deciding import settle as _settle
from .sending import send as _send

SIGNATURES = {
    "advance": "(float64, float64, int64)", "send": "(float64, float64, int64, int64, int64, int64, int64, int64)",
    "settle": "(int64, float64, int64)", "busy": "(int64, float64, int64)",
}


def entries(stamp: str) -> dict[str, Callable[..., Any]]:
    """Return advance, send, settle and busy, each compiled for its signature, by name; *stamp* tells this state of the sources."""
    if not COMPILED:
        raise RuntimeError("only the copy of these modules that `forms.compiled` loads has compiled functions")
    keep: Any = importlib.import_module("numba").njit(error_model="numpy", cache=True)

    @keep
    def advance(now_s, limit_s, where):
        _ = stamp
        return _advance(now_s, limit_s, where)

    @keep
    def send(now_s, dur_s, node, dst, nbytes, kind, packet, where):
        _ = stamp
        return _send(now_s, dur_s, node, dst, nbytes, kind, packet, where)

    @keep
    def settle(node, until_s, where):
        _ = stamp
        return _settle(node, until_s, where)

    @keep
    def busy(node, now_s, where):
        _ = stamp
        return _busy(node, now_s, where)

    compiled = {}
    for name, function in (("advance", advance), ("send", send), ("settle", settle), ("busy", busy)):
        function.compile(SIGNATURES[name])
        compiled[name] = next(iter(function.overloads.values())).entry_point
    return compiled
