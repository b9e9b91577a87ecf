"""FedBuff: what comes back is collected, and every K updates make one step of the server."""

from __future__ import annotations

from typing import final

from pydantic import Field

from toolkit.core.context import Asking
from toolkit.core.fabric import Fabric
from toolkit.errors import ScenarioError
from toolkit.methods.federated.courier import Update
from toolkit.methods.federated.server import Server
from toolkit.methods.federated.streams import Stream


@final
class FedBuff(Stream):
    """w <- w - eta_g / K sum of s(tau_i) Delta_i over K updates, Delta_i = w_start - w_end and s(tau) = 1 / sqrt(1 + tau).

    With as many clients out as the buffer holds, all equally fast and with equally many samples, and eta_g = 1, it is FedAvg up to
    rounding.

    Source: Nguyen et al. 2022 (Federated learning with buffered asynchronous aggregation), Alg. 1 and 2, without secure aggregation.
    Departure: clients send w_end and the server, which keeps the versions that are out, makes Delta of it: as many bytes, the same bits.
    """

    buffer: int = Field(10, ge=1, description="updates of a step (K)")
    server_lr: float = Field(1.0, gt=0, le=1e6, description="learning rate of the server (eta_g)")
    scaled: bool = Field(True, description="whether updates count less the older they are: s(tau) = 1 / sqrt(1 + tau)")

    def check(self, fabric: Fabric) -> None:
        if self.buffer > self.concurrency:
            raise ScenarioError(
                f"program.buffer: {self.buffer} updates, and {self.concurrency} clients are out at a time (concurrency); use at most "
                f"{self.concurrency}"
            )
        super().check(fabric)

    def weight_of(self, staleness: int) -> float:
        """Return s(tau)."""
        return (1.0 + staleness) ** -0.5 if self.scaled else 1.0

    def take(self, server: Server, update: Update, staleness: int) -> Asking:
        yield from server.compute(server.passes(1, flops=3, reads=4, writes=2, launches=2))
        delta = (update.start - update.vector).mul_(self.weight_of(staleness))
        server.collected = delta if server.collecting == 0 else server.collected.add_(delta)
        server.collecting += 1
        if server.collecting < self.buffer:
            return False
        yield from server.compute(server.passes(1, flops=2, reads=2, writes=1, launches=1))
        server.weights.add_(server.collected, alpha=-self.server_lr / self.buffer)
        server.collecting = 0
        return True
