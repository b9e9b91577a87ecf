"""signSGD with majority vote: each worker votes up or down for every coordinate, and the majority decides."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from pydantic import Field
from torch import Tensor

from toolkit.core.context import Asking, Context
from toolkit.core.work import Work
from toolkit.learning.compressors.sign import Sign
from toolkit.learning.flat import FlatLayout
from toolkit.methods.distributed import ExchangeMethod, Step
from toolkit.methods.distributed.compressed import CompressedState, average, begin, compressed, wire_bytes
from toolkit.methods.distributed.sparse import charged, exchange_whole, moving


@final
class SignSgd(ExchangeMethod[CompressedState]):
    """m <- b m + (1 - b) g; send sign(m); w <- w - lr sign(sum of signs). ``d/8`` bytes by all-gather, and no memory.

    Every coordinate moves by the learning rate or not at all, so that has to be small (about 1e-4 to 1e-3 of what dense SGD takes).

    Source: Bernstein et al. 2018 (signSGD for momentum 0, else Signum), and 2019 for the vote.

    Departures: every worker counts the votes itself instead of a server. A tie, possible with an even number of workers, leaves the
    coordinate where it is, and a gradient of exactly zero votes at random.
    """

    partial: ClassVar[bool] = True

    momentum: float = Field(0.9, ge=0, lt=1, description="share of the past in each worker's own average (b)")
    dense_below: int = Field(0, ge=0, description="tensors of fewer elements travel whole, together in one all-reduce, and take SGD steps")

    @property
    def by_part(self) -> bool:
        return True

    def init(self, ctx: Context, layout: FlatLayout) -> CompressedState:
        return begin(layout, self.dense_below, self.momentum)

    def step(self, ctx: Context, state: CompressedState, weights: Tensor, gradient: Tensor, step: Step) -> Asking:
        split, own, more = state.split, state.split.compressed(gradient), Work()
        if self.momentum and split.size:
            own = state.velocity.lerp_(own, 1 - self.momentum)  # Signum: each worker's own, unlike other methods' velocity
            more = moving(split.size, 3, 2, 1)
        payload = yield from compressed(ctx, Sign(), own, step, more=more)
        yield from exchange_whole(
            ctx, split, velocity=state.small_velocity, momentum=self.momentum, weights=weights, gradient=gradient, step=step
        )
        if not payload:
            return
        votes = yield from average(ctx, Sign(), payload, split.size)
        split.add_compressed(weights, torch.sign(votes), -step.lr)
        yield charged(ctx, moving(split.size, 3, 3, 2, 1 + len(split.large)))

    def wire_bytes(self, layout: FlatLayout) -> float:
        return wire_bytes(layout, self.dense_below, Sign())
