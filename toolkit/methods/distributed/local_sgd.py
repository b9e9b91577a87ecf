"""Local SGD: each worker trains by itself, and every few steps all average their weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from pydantic import Field
from torch import Tensor

from toolkit.collectives.gossip import gossip_mean
from toolkit.core.context import Asking, Context
from toolkit.core.work import FLOAT_BYTES
from toolkit.learning.flat import FlatLayout
from toolkit.methods.distributed import ExchangeMethod, Step
from toolkit.methods.distributed.compressed import descend
from toolkit.methods.distributed.sparse import charged, moving


@dataclass
class LocalSgdState:
    """What a worker keeps between steps."""

    velocity: Tensor
    """This worker's momentum (d,); empty without."""


@final
class LocalSgd(ExchangeMethod[LocalSgdState]):
    """w <- w - lr v with the worker's own gradient; after every `period` steps w <- mean of w. ``4 d / period`` bytes per step on average.

    Between averages the workers' weights differ. With `gossip_rounds` they differ always: each averages with its neighbours alone
    (`toolkit.collectives.gossip`), and who evaluates tells of one network of many.

    Source: Stich 2019, Alg. 1, which has no momentum. What becomes of it when the weights are averaged is a choice of ours, `at_average`;
    averaging it too costs as many bytes again.
    """

    partial: ClassVar[bool] = True

    gossip_rounds: int = Field(0, ge=0, le=1000, description="average with neighbours alone, so many times in a row; 0: with all at once")
    period: int = Field(8, ge=1, description="steps between two averages")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum factor, on the worker's own gradients")
    nesterov: bool = Field(False, description="look ahead along the momentum")
    at_average: Literal["average", "keep", "reset"] = Field(
        "average", description="the momentum when weights are averaged: averaged too, left as it is, or set to zero"
    )

    @property
    def cycle(self) -> int:
        return self.period

    def init(self, ctx: Context, layout: FlatLayout) -> LocalSgdState:
        return LocalSgdState(torch.zeros(layout.size if self.momentum else 0))

    def step(self, ctx: Context, state: LocalSgdState, weights: Tensor, gradient: Tensor, step: Step) -> Asking:
        yield from descend(ctx, weights, state.velocity, gradient, self.momentum, step.lr, nesterov=self.nesterov)  # Alg. 1, l. 7
        if (step.index + 1) % self.period:
            return
        averaged = self.momentum > 0 and self.at_average == "average"
        own = torch.cat([weights, state.velocity]) if averaged else weights
        if self.gossip_rounds:
            mean = yield from gossip_mean(ctx, own, self.gossip_rounds, "weights")
        else:
            total = yield from ctx.all_reduce(own, "weights")  # l. 5
            mean = total / ctx.size
        weights.copy_(mean[: weights.numel()])
        if averaged:
            state.velocity.copy_(mean[weights.numel() :])
        elif self.at_average == "reset":
            state.velocity.zero_()
        yield charged(ctx, moving(own.numel(), 1, 2, 2, 3))

    def wire_bytes(self, layout: FlatLayout) -> float:
        vectors = 2 if self.momentum and self.at_average == "average" else 1
        return vectors * FLOAT_BYTES * layout.size / self.period * max(1, self.gossip_rounds)
