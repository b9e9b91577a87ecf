"""1-bit SGD: one bit per coordinate and two values per layer, with error feedback."""

from __future__ import annotations

from typing import final

from pydantic import Field
from torch import Tensor

from toolkit.core.context import Asking, Context
from toolkit.learning.compressors import one_bit
from toolkit.learning.compressors.memory import Residual
from toolkit.learning.flat import FlatLayout
from toolkit.methods.distributed import ExchangeMethod, Step
from toolkit.methods.distributed.compressed import CompressedState, begin, compressed_sizes, compressed_step, wire_bytes


@final
class OneBit(ExchangeMethod[CompressedState]):
    """e <- e + g; send the signs of e, and of each layer what a positive and a negative one stands for; e <- e - what that stands for.

    ``d/8 + 8 L`` bytes for L layers by all-gather. Momentum is on the averaged gradient, after the exchange, as in the paper.

    Source: Seide et al. 2014. Departures: two values per layer instead of per column, and the sum is not quantised again, because
    every worker forms it itself.
    """

    momentum: float = Field(0.9, ge=0, lt=1, description="momentum factor, on what all workers sent")
    lr_inside: bool = Field(False, description="the learning rate scales what is accumulated, not the update at the end")
    dense_below: int = Field(0, ge=0, description="tensors of fewer elements travel whole, together in one all-reduce")

    @property
    def by_part(self) -> bool:
        return True

    def init(self, ctx: Context, layout: FlatLayout) -> CompressedState:
        return begin(layout, self.dense_below, self.momentum, Residual.zeros)

    def step(self, ctx: Context, state: CompressedState, weights: Tensor, gradient: Tensor, step: Step) -> Asking:
        compressor = one_bit.OneBitCompressor(state.sizes)
        yield from compressed_step(
            ctx, state, compressor, weights=weights, gradient=gradient, step=step, momentum=self.momentum, lr_inside=self.lr_inside
        )

    def wire_bytes(self, layout: FlatLayout) -> float:
        return wire_bytes(layout, self.dense_below, one_bit.OneBitCompressor(compressed_sizes(layout, self.dense_below)))
