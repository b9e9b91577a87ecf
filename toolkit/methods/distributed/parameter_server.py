"""Parameter server: servers add the workers' gradients and send the sum back, each its share of the coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from pydantic import Field
from torch import Tensor

from toolkit.collectives.all_reduce.parameter_server import ParameterServerAllReduce as Schedule
from toolkit.core.context import Asking, Context
from toolkit.core.work import FLOAT_BYTES
from toolkit.learning.flat import FlatLayout
from toolkit.methods.distributed import ExchangeMethod, Step
from toolkit.methods.distributed.buckets import summed
from toolkit.methods.distributed.compressed import descend
from toolkit.methods.distributed.sparse import dividing


@dataclass
class ParameterServerState:
    """What a worker keeps between steps."""

    velocity: Tensor
    """Momentum (d,) of a worker; empty without, and on a server."""


@final
class ParameterServer(ExchangeMethod[ParameterServerState]):
    """Dense momentum SGD whose sum is formed by servers: ``4 d`` bytes up and ``4 d`` down per worker, P times that at the servers.

    Source: Li et al. 2014. Departure: the servers return the summed gradient and the workers keep the weights, which is as many bytes;
    so the learning is that of `dense`.
    """

    needs_servers: ClassVar[bool] = True
    overlaps: ClassVar[bool] = True

    momentum: float = Field(0.9, ge=0, lt=1, description="momentum factor")
    nesterov: bool = Field(False, description="look ahead along the momentum")

    def init(self, ctx: Context, layout: FlatLayout) -> ParameterServerState:
        return ParameterServerState(torch.zeros(layout.size if self.momentum and not ctx.is_server else 0))

    def step(self, ctx: Context, state: ParameterServerState, weights: Tensor, gradient: Tensor, step: Step) -> Asking:
        total = yield from summed(ctx, gradient, step, schedule=Schedule())
        mean, more = total / ctx.size, dividing(total)
        yield from descend(ctx, weights, state.velocity, mean, self.momentum, step.lr, nesterov=self.nesterov, more=more)

    def serve(self, ctx: Context, state: ParameterServerState, layout: FlatLayout, step: Step) -> Asking:
        yield from summed(ctx, torch.empty(layout.size), step, schedule=Schedule())

    def wire_bytes(self, layout: FlatLayout) -> float:
        return FLOAT_BYTES * layout.size
