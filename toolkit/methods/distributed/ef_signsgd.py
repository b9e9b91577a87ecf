"""EF-signSGD: signs scaled by the mean magnitude of their layer, with error feedback."""

from __future__ import annotations

from typing import ClassVar, final

from pydantic import Field
from torch import Tensor

from toolkit.core.context import Asking, Context
from toolkit.learning.compressors.memory import Residual
from toolkit.learning.compressors.sign import Sign
from toolkit.learning.flat import FlatLayout
from toolkit.methods.distributed import ExchangeMethod, Step
from toolkit.methods.distributed.compressed import CompressedState, begin, compressed_sizes, compressed_step, wire_bytes


@final
class EfSignSgd(ExchangeMethod[CompressedState]):
    """e <- e + g; send sign(e) and mean |e| of each layer; e <- e - mean |e| sign(e). ``d/8 + 4 L`` bytes for L layers by all-gather.

    Source: Karimireddy et al. 2019, Alg. 1, where the learning rate is inside (`lr_inside`); several workers as in Zheng et al. 2019.
    Departure: the mean of what the workers sent is not compressed again, because there is no server.
    """

    partial: ClassVar[bool] = True

    momentum: float = Field(0.9, ge=0, lt=1, description="momentum factor, on what all workers sent")
    lr_inside: bool = Field(False, description="the learning rate scales what is accumulated, not the update at the end")
    dense_below: int = Field(0, ge=0, description="tensors of fewer elements travel whole, together in one all-reduce")

    @property
    def by_part(self) -> bool:
        return True

    def init(self, ctx: Context, layout: FlatLayout) -> CompressedState:
        return begin(layout, self.dense_below, self.momentum, Residual.zeros)

    def step(self, ctx: Context, state: CompressedState, weights: Tensor, gradient: Tensor, step: Step) -> Asking:
        compressor = Sign(state.sizes, scaled=True)
        yield from compressed_step(
            ctx, state, compressor, weights=weights, gradient=gradient, step=step, momentum=self.momentum, lr_inside=self.lr_inside
        )

    def wire_bytes(self, layout: FlatLayout) -> float:
        return wire_bytes(layout, self.dense_below, Sign(compressed_sizes(layout, self.dense_below), scaled=True))
