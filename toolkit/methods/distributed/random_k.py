"""Random-k: all workers send the same k coordinates, drawn anew every step from a seed that they share."""

from __future__ import annotations

from typing import final

from pydantic import Field
from torch import Tensor

from toolkit.core.context import Asking, Context
from toolkit.learning.compressors import random_k as random
from toolkit.learning.compressors.memory import Residual
from toolkit.learning.flat import FlatLayout
from toolkit.methods.distributed import ExchangeMethod, Step
from toolkit.methods.distributed.compressed import CompressedState, begin, compressed_step, wire_bytes
from toolkit.methods.distributed.sparse import Split, count


@final
class RandomK(ExchangeMethod[CompressedState]):
    """e <- e + g; add e at k random coordinates over all workers; e <- 0 there. No indices travel: ``4 k`` bytes by all-reduce.

    Without error feedback what is received counts d/k times, which has the right mean and a large variance.

    Source: Stich et al. 2018. Departure: drawn without replacement.
    """

    k: int | None = Field(None, ge=1, description="coordinates sent per step; without it the share `density`")
    density: float = Field(0.01, gt=0, le=1, description="share of the coordinates sent per step, where k is not given")
    error_feedback: bool = Field(True, description="keep what was not sent; without, multiply what was sent by d/k")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum factor, on what all workers sent")
    lr_inside: bool = Field(False, description="the learning rate scales what is accumulated, not the update at the end")
    dense_below: int = Field(0, ge=0, description="tensors of fewer elements travel whole, together in one all-reduce")

    def init(self, ctx: Context, layout: FlatLayout) -> CompressedState:
        state = begin(layout, self.dense_below, self.momentum, Residual.zeros if self.error_feedback else None)
        self._compressor(state.split, 0)  # refuses a k that is too large before anything is trained
        return state

    def step(self, ctx: Context, state: CompressedState, weights: Tensor, gradient: Tensor, step: Step) -> Asking:
        seed = int(ctx.shared_rng("random_k", step.index).integers(2**63))  # the same on all workers
        compressor = self._compressor(state.split, seed)
        inside = self.lr_inside and self.error_feedback
        yield from compressed_step(
            ctx, state, compressor, weights=weights, gradient=gradient, step=step, momentum=self.momentum, lr_inside=inside
        )

    def _compressor(self, split: Split, seed: int) -> random.RandomKCompressor:
        return random.RandomKCompressor(count(self.k, self.density, split.size), seed, unbiased=not self.error_feedback)

    def wire_bytes(self, layout: FlatLayout) -> float:
        return wire_bytes(layout, self.dense_below, self._compressor(Split.of(layout, self.dense_below), 0))
