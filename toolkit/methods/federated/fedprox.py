"""FedProx: FedAvg with a pull towards the weights that a client began with, and with clients that send what they have in time."""

from __future__ import annotations

import math
from typing import final

from pydantic import Field

from toolkit.core.fabric import Fabric
from toolkit.errors import ScenarioError
from toolkit.methods.federated.rounds import Rounds


@final
class FedProx(Rounds):
    """Clients minimise F_k(w) + mu/2 |w - w_t|^2 by as many steps as they begin in time, at least one; then as FedAvg.

    With mu = 0 and no `compute_s` it is FedAvg to the bit.

    Source: Li et al. 2020 (Federated optimization in heterogeneous networks), Alg. 2, with SGD as the local solver. Departures: the mean is
    weighted by samples, as in the authors' code, where Alg. 2 draws clients by samples and averages evenly; how inexact a client is follows
    from `compute_s` and its machine, not from a number of epochs drawn at random. A driver without a simulated clock takes all steps.
    """

    mu: float = Field(0.01, ge=0, le=1e6, description="weight of the pull towards the weights of the round")
    compute_s: float | None = Field(None, gt=0, description="time of computing in s after which a client begins no further step")

    @property
    def proximal(self) -> float:
        return self.mu

    @property
    def limit_s(self) -> float:
        return math.inf if self.compute_s is None else self.compute_s

    def check(self, fabric: Fabric) -> None:
        super().check(fabric)
        if self.compute_s is not None and self.deadline_s is not None and self.compute_s >= self.deadline_s:
            raise ScenarioError(
                f"program.compute_s: {self.compute_s:g} s of computing are not over before the deadline of {self.deadline_s:g} s; use less"
            )
