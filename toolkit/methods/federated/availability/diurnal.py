"""Once a day: a client is there for a share of each period, such as the night in which a telephone is charged."""

from __future__ import annotations

from typing import final

import numpy as np
from pydantic import Field
from scipy.special import ndtri

from toolkit.methods.federated.availability import Availability, Clients, Flags, Floats, Presence, uniform


class _Diurnal:
    def __init__(self, spec: Diurnal, clients: int, seed: int) -> None:
        self._period_s, self._length_s = spec.period_s, spec.there_share * spec.period_s
        self._begin_s: Floats = spec.begins_s + spec.spread_s * ndtri(uniform(seed, np.arange(clients), 0))

    def _into_s(self, now_s: float, clients: Clients) -> Floats:
        """Time since each window began last."""
        found: Floats = np.mod(now_s - self._begin_s[clients], self._period_s)
        return found

    def there(self, now_s: float, clients: Clients) -> Flags:
        found: Flags = self._into_s(now_s, clients) < self._length_s
        return found

    def until_s(self, now_s: float, clients: Clients) -> Floats:
        if self._length_s >= self._period_s:
            return np.full(len(clients), np.inf)
        return now_s + self._length_s - self._into_s(now_s, clients)


@final
class Diurnal(Availability):
    """Each client's window begins at its own time of day, normally distributed round a common one, and is equally long every day."""

    there_share: float = Field(1 / 3, gt=0, le=1, description="share of the period for which a client is there")
    period_s: float = Field(86_400.0, ge=1.0, description="time in s after which the windows come again")
    begins_s: float = Field(0.0, description="mean time in s at which windows begin")
    spread_s: float = Field(7200.0, ge=0, description="standard deviation in s of these times between clients")

    def init(self, clients: int, seed: int) -> Presence:
        return _Diurnal(self, clients, seed)
