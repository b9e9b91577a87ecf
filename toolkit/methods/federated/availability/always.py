"""Everybody is there at all times."""

from __future__ import annotations

from typing import final

import numpy as np

from toolkit.methods.federated.availability import Availability, Clients, Flags, Floats, Presence


class _Always:
    def __init__(self, count: int) -> None:
        self._count = count

    def there(self, now_s: float) -> Flags:
        return np.ones(self._count, bool)

    def until_s(self, now_s: float) -> Floats:
        return np.full(self._count, np.inf)


@final
class Always(Availability):
    """Nobody ever leaves."""

    def init(self, clients: Clients, seed: int) -> Presence:
        return _Always(len(clients))
