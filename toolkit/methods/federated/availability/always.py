"""Everybody is there at all times."""

from __future__ import annotations

from typing import final

import numpy as np

from toolkit.methods.federated.availability import Availability, Clients, Flags, Floats, Presence


class _Always:
    def there(self, now_s: float, clients: Clients) -> Flags:
        return np.ones(len(clients), bool)

    def until_s(self, now_s: float, clients: Clients) -> Floats:
        return np.full(len(clients), np.inf)


@final
class Always(Availability):
    """Nobody ever leaves."""

    def init(self, clients: int, seed: int) -> Presence:
        return _Always()
