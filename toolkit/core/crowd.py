"""Crowds: the clients of a server, kept by a fabric as arrays instead of as nodes, since most of them do nothing most of the time.

A program whose workers do only what a server tells them says so by `led_by_server`. A fabric that can may then run the server alone and
give its context a `Crowd`, to which the server hands errands: receive a message, compute some equal steps, send a message back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from toolkit.core.work import Work

DOWN, GRADIENT, UP = "download", "gradient", "upload"
"""Phases of what an errand costs."""
WAKING = "wake"
"""Phase of what sends when it wakes after a computation."""
FOREVER_S = float("inf")


class Errand(NamedTuple):
    """What one client is sent out to do."""

    number: int
    """By which its end is known again."""
    client: int
    work: Work
    """Of one step."""
    steps: int
    down_nbytes: int
    up_nbytes: int
    goodbye_nbytes: int
    """Of the message of one that leaves before it is done."""
    limit_s: float = FOREVER_S
    """No step but the first begins after so much computing."""
    until_s: float = FOREVER_S
    """When the client leaves: from then on it begins no step and sends nothing but its goodbye."""


class Ended(NamedTuple):
    """How an errand ended, as the server sees it."""

    number: int
    client: int
    left: bool
    """Whether the client went away before it was done."""
    steps: int
    """Steps that were computed."""


class Crowd(Protocol):
    """Clients as arrays, on a clock of their own that follows the simulator's."""

    def send_out(self, errands: Sequence[Errand], now_s: float) -> None:
        """Let clients begin at *now_s*, which is not before anything that was told already."""
        ...

    def next_ended(self, now_s: float, until_s: float) -> tuple[float, list[Ended]]:
        """Return when the next errands end, *now_s* at the earliest, and all that end then; *until_s* and none if that comes first."""
        ...


@runtime_checkable
class LedByServer(Protocol):
    """A program whose workers do only what a server tells them, by errands."""

    led_by_server: bool


@runtime_checkable
class HasCrowd(Protocol):
    """A context that may have a crowd."""

    crowd: Crowd | None


@runtime_checkable
class CrowdFabric(Protocol):
    """A fabric that may keep a crowd."""

    @property
    def keeps_crowd(self) -> bool:
        """Whether it does, so that clients are no nodes."""
        ...

    def check_crowd(self) -> None:
        """Raise a `ScenarioError` where it would, and its settings do not go with that."""
        ...

    def quickest_s(self, work: Work, steps: int, down_nbytes: int, up_nbytes: int) -> float:
        """Return the shortest time in s that any of its clients, alone on all links, needs for such an errand."""
        ...
