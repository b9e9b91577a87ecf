"""Dense SGD: the workers add their whole gradients. What all others are measured against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from pydantic import Field
from torch import Tensor

from toolkit.core.context import Asking, Context
from toolkit.core.work import FLOAT_BYTES
from toolkit.learning.flat import FlatLayout
from toolkit.methods.distributed import ExchangeMethod, Step
from toolkit.methods.distributed.buckets import summed
from toolkit.methods.distributed.compressed import descend
from toolkit.methods.distributed.sparse import dividing


@dataclass
class DenseState:
    """What a worker keeps between steps."""

    velocity: Tensor
    """Momentum (d,), the same on every worker; empty without."""


@final
class Dense(ExchangeMethod[DenseState]):
    """Synchronous momentum SGD on the mean gradient, by the fabric's all-reduce: ``4 d`` bytes.

    With the same seed it makes the steps of one worker with the batches of all. Its buckets are added up during the backward pass.
    """

    partial: ClassVar[bool] = True
    overlaps: ClassVar[bool] = True

    momentum: float = Field(0.9, ge=0, lt=1, description="momentum factor")
    nesterov: bool = Field(False, description="look ahead along the momentum")

    def init(self, ctx: Context, layout: FlatLayout) -> DenseState:
        return DenseState(torch.zeros(layout.size if self.momentum else 0))

    def step(self, ctx: Context, state: DenseState, weights: Tensor, gradient: Tensor, step: Step) -> Asking:
        total = yield from summed(ctx, gradient, step)
        mean, more = total / ctx.size, dividing(total)
        yield from descend(ctx, weights, state.velocity, mean, self.momentum, step.lr, nesterov=self.nesterov, more=more)

    def wire_bytes(self, layout: FlatLayout) -> float:
        return FLOAT_BYTES * layout.size
