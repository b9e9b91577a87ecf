"""Availability: when clients are there. A draw is a function of seed, client and count alone, so that questions do not change answers."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from toolkit.core.part import Part

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Clients = NDArray[np.int64]


class Presence(Protocol):
    """Who is there; asked about times that never go back."""

    def there(self, now_s: float, clients: Clients) -> Flags:
        """Return whether each of *clients* is there at *now_s*."""
        ...

    def until_s(self, now_s: float, clients: Clients) -> Floats:
        """Return when each of *clients*, all of them there at *now_s*, leaves; infinite for one that stays."""
        ...


class Availability(Part):
    """When clients can be asked, and how long they stay."""

    family: ClassVar[str] = "availability"

    @abstractmethod
    def init(self, clients: int, seed: int) -> Presence:
        """Return the presence of so many *clients*."""


def uniform(seed: int, clients: Clients, count: Clients | int) -> Floats:
    """Return a number of (0, 1) for each client and *count*: splitmix64 (Steele, Lea and Flood 2014) of the three."""
    with np.errstate(over="ignore"):
        mixed = np.uint64(seed) + np.asarray(clients, np.uint64) * np.uint64(0xD1342543DE82EF95)
        mixed = _mix(mixed) + np.asarray(count, np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        found: Floats = ((_mix(mixed) >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53
    return found


def _mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
