"""TernGrad: every coordinate as -1, 0 or 1, rounded at random so that the mean over many steps is right."""

from __future__ import annotations

from typing import ClassVar, final

from pydantic import Field
from torch import Tensor

from toolkit.core.context import Asking, Context
from toolkit.learning.compressors import terngrad
from toolkit.learning.flat import FlatLayout
from toolkit.methods.distributed import ExchangeMethod, Step
from toolkit.methods.distributed.compressed import CompressedState, begin, compressed_sizes, compressed_step, wire_bytes


@final
class TernGrad(ExchangeMethod[CompressedState]):
    """Each worker clips its gradient, layer by layer, and sends ternary signs and the scale of each layer. No memory.

    ``d/4 + 4 L`` bytes for L layers by all-gather.

    Source: Wen et al. 2017, Alg. 1. Departures: see the compressor.
    """

    partial: ClassVar[bool] = True

    clip: float = Field(2.5, ge=0, description="clip at so many standard deviations of the layer; 0 for not at all")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum factor, on the averaged gradient")
    dense_below: int = Field(0, ge=0, description="tensors of fewer elements travel whole, together in one all-reduce")

    @property
    def by_part(self) -> bool:
        return True

    def init(self, ctx: Context, layout: FlatLayout) -> CompressedState:
        return begin(layout, self.dense_below, self.momentum)

    def step(self, ctx: Context, state: CompressedState, weights: Tensor, gradient: Tensor, step: Step) -> Asking:
        compressor = terngrad.TernGradCompressor(state.sizes, self.clip)
        yield from compressed_step(ctx, state, compressor, weights=weights, gradient=gradient, step=step, momentum=self.momentum)

    def wire_bytes(self, layout: FlatLayout) -> float:
        compressor = terngrad.TernGradCompressor(compressed_sizes(layout, self.dense_below), self.clip)
        return wire_bytes(layout, self.dense_below, compressor)
