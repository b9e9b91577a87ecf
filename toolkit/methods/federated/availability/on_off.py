"""A process of two states: each client comes and goes by itself."""

from __future__ import annotations

from typing import final

import numpy as np
from pydantic import Field

from toolkit.methods.federated.availability import Availability, Clients, Flags, Floats, Presence, uniform


class _OnOff:
    def __init__(self, spec: OnOff, clients: Clients, seed: int) -> None:
        self._spec, self._clients, self._seed = spec, clients, seed
        self._on = uniform(seed, clients, 0) < spec.on_s / (spec.on_s + spec.off_s)
        self._count = np.ones(len(clients), np.int64)
        """How often each has drawn."""
        self._next_s = self._drawn(np.arange(len(clients)))
        """When each changes next."""

    def _drawn(self, which: Clients) -> Floats:
        mean_s = np.where(self._on[which], self._spec.on_s, self._spec.off_s)
        found: Floats = -mean_s * np.log(uniform(self._seed, self._clients[which], self._count[which]))
        return found

    def _advance(self, now_s: float) -> None:
        due = np.flatnonzero(self._next_s <= now_s)
        while len(due):
            self._on[due] = ~self._on[due]
            self._count[due] += 1
            self._next_s[due] += self._drawn(due)
            due = due[self._next_s[due] <= now_s]

    def there(self, now_s: float) -> Flags:
        self._advance(now_s)
        return self._on.copy()

    def until_s(self, now_s: float) -> Floats:
        self._advance(now_s)
        return self._next_s.copy()


@final
class OnOff(Availability):
    """Times there and times away are exponential; at the start each client is there with its long-run chance, `on_s / (on_s + off_s)`."""

    on_s: float = Field(3600.0, ge=1e-3, description="mean time in s for which a client is there")
    off_s: float = Field(3600.0, ge=1e-3, description="mean time in s for which it is away")

    def init(self, clients: Clients, seed: int) -> Presence:
        return _OnOff(self, clients, seed)
