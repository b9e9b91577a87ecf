"""What this machine can do, measured in a few seconds: gradients of a handful of small networks, in CPU time.

The same probes as `python -m toolkit.calibrate` takes, which times them longer and says how well they foretell others.
"""

from __future__ import annotations

from functools import cache

ROUNDS = 8
"""Rounds over the probes, about an eighth of a second each."""


@cache
def measure() -> dict[str, object]:
    """Return the measured fields of a `Device`; measured once per process, on one thread of torch."""
    from toolkit.calibration.machine import calibrate, sizes  # loads torch, which the sea needs only if one of its nodes is this machine

    found = calibrate(rounds=ROUNDS)
    return {"source": found.source, **found.fields, **sizes()}
