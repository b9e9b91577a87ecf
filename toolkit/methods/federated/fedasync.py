"""FedAsync: whatever comes back is mixed into the model at once, the less the older it is."""

from __future__ import annotations

import math
from typing import Literal, final

from pydantic import Field

from toolkit.core.context import Asking
from toolkit.methods.federated.courier import Update
from toolkit.methods.federated.server import Server
from toolkit.methods.federated.streams import Stream


@final
class FedAsync(Stream):
    """w_t = (1 - alpha_t) w_{t-1} + alpha_t w_new, alpha_t = alpha s(t - tau), where w_new began with version tau.

    s(x) is 1 (constant), (1 + x)^-a (polynomial), or 1 up to b and 1 / (a (x - b) + 1) beyond (hinge). Clients minimise
    F(w) + rho/2 |w - w_tau|^2.

    Source: Xie, Koyejo and Gupta 2019 (Asynchronous federated optimization), Alg. 1 and section 5.2. Departures: staleness counts the
    versions between, so that an update of the present version has age 0 and s = 1; clients take whole epochs and not a number of steps
    between two bounds; a client is sent out when another is back, not by a scheduler of its own.
    """

    alpha: float = Field(0.6, gt=0, le=1, description="share of a fresh update in the next model")
    staleness: Literal["constant", "polynomial", "hinge"] = Field("polynomial", description="how the share falls with an update's age")
    a: float = Field(0.5, gt=0, le=1e6, description="how fast it falls")
    b: float = Field(4.0, ge=0, le=1e9, description="age from which the hinge falls")
    rho: float = Field(0.0, ge=0, le=1e6, description="weight of the pull towards the weights that a client began with")

    @property
    def proximal(self) -> float:
        return self.rho

    def share_of(self, age: int) -> float:
        """Return alpha_t of an update of so many versions' *age*."""
        if self.staleness == "polynomial":
            return self.alpha * math.pow(1.0 + age, -self.a)
        if self.staleness == "hinge" and age > self.b:
            return self.alpha / (self.a * (age - self.b) + 1.0)
        return self.alpha

    def take(self, server: Server, update: Update, staleness: int) -> Asking:
        yield from server.compute(server.passes(1, flops=3, reads=3, writes=2, launches=2))
        share = self.share_of(staleness)
        server.weights.mul_(1.0 - share).add_(update.vector, alpha=share)
        return True
