"""Top-k with error feedback: each worker sends its own k largest coordinates to all others."""

from __future__ import annotations

from typing import ClassVar, final

from pydantic import Field
from torch import Tensor

from toolkit.core.context import Asking, Context
from toolkit.learning.compressors import top_k as top
from toolkit.learning.compressors.memory import Residual
from toolkit.learning.flat import FlatLayout
from toolkit.methods.distributed import ExchangeMethod, Step
from toolkit.methods.distributed.compressed import CompressedState, begin, compressed_step, wire_bytes
from toolkit.methods.distributed.sparse import Split, count


@final
class TopK(ExchangeMethod[CompressedState]):
    """e <- e + g; send the k largest of e with their indices; e <- 0 there; the union of up to P k coordinates is averaged.

    ``8 k`` bytes by all-gather: what a worker receives grows with P.

    Source: Stich et al. 2018 (memory); Aji and Heafield 2017; compared in Shi et al. 2019. Momentum is on the averaged update.
    """

    partial: ClassVar[bool] = True

    k: int | None = Field(None, ge=1, description="coordinates sent per step; without it the share `density`")
    density: float = Field(0.01, gt=0, le=1, description="share of the coordinates sent per step, where k is not given")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum factor, on what all workers sent")
    lr_inside: bool = Field(False, description="the learning rate scales what is accumulated, not the update at the end")
    dense_below: int = Field(0, ge=0, description="tensors of fewer elements travel whole, together in one all-reduce")

    def init(self, ctx: Context, layout: FlatLayout) -> CompressedState:
        state = begin(layout, self.dense_below, self.momentum, Residual.zeros)
        self._compressor(state.split)  # refuses a k that is too large before anything is trained
        return state

    def step(self, ctx: Context, state: CompressedState, weights: Tensor, gradient: Tensor, step: Step) -> Asking:
        compressor = self._compressor(state.split)
        yield from compressed_step(
            ctx, state, compressor, weights=weights, gradient=gradient, step=step, momentum=self.momentum, lr_inside=self.lr_inside
        )

    def _compressor(self, split: Split) -> top.TopKCompressor:
        return top.TopKCompressor(count(self.k, self.density, split.size))

    def wire_bytes(self, layout: FlatLayout) -> float:
        return wire_bytes(layout, self.dense_below, self._compressor(Split.of(layout, self.dense_below)))
