"""A process of two states: each client comes and goes by itself."""

from __future__ import annotations

from typing import final

import numpy as np
from pydantic import Field

from toolkit.methods.federated.availability import Availability, Clients, Flags, Floats, Presence, uniform


class _OnOff:
    def __init__(self, spec: OnOff, clients: int, seed: int) -> None:
        self._spec, self._seed, everybody = spec, seed, np.arange(clients)
        self._on = uniform(seed, everybody, 0) < spec.on_s / (spec.on_s + spec.off_s)
        self._count = np.ones(clients, np.int64)
        """How often each has drawn."""
        self._next_s = self._drawn(everybody)
        """When each changes next."""

    def _drawn(self, which: Clients) -> Floats:
        mean_s = np.where(self._on[which], self._spec.on_s, self._spec.off_s)
        found: Floats = -mean_s * np.log(uniform(self._seed, which, self._count[which]))
        return found

    def _advance(self, now_s: float, clients: Clients) -> None:
        due = clients[self._next_s[clients] <= now_s]
        while len(due):
            self._on[due] = ~self._on[due]
            self._count[due] += 1
            self._next_s[due] += self._drawn(due)
            due = due[self._next_s[due] <= now_s]

    def there(self, now_s: float, clients: Clients) -> Flags:
        self._advance(now_s, clients)
        return self._on[clients]

    def until_s(self, now_s: float, clients: Clients) -> Floats:
        self._advance(now_s, clients)
        return self._next_s[clients]


@final
class OnOff(Availability):
    """Times there and times away are exponential; at the start each client is there with its long-run chance, `on_s / (on_s + off_s)`."""

    on_s: float = Field(3600.0, ge=1e-3, description="mean time in s for which a client is there")
    off_s: float = Field(3600.0, ge=1e-3, description="mean time in s for which it is away")

    def init(self, clients: int, seed: int) -> Presence:
        return _OnOff(self, clients, seed)
