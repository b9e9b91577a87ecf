"""Room: whether this machine's memory holds what a run is going to keep, said before it begins."""

from __future__ import annotations

import os

from toolkit.core.device import amount
from toolkit.errors import ScenarioError


def machine_bytes() -> float:
    """Return the memory of this machine."""
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def check_room(nbytes: float, place: str, what: str) -> None:
    """Raise a `ScenarioError` at the setting *place* where *what* takes more memory than this machine has."""
    there = machine_bytes()
    if nbytes > there:
        raise ScenarioError(f"{place}: {what} take about {amount(nbytes)} of this machine's memory, which has {amount(there)}; use fewer")
