"""QSGD: every coordinate in a few bits, rounded at random so that the mean over many steps is right."""

from __future__ import annotations

from typing import ClassVar, Literal, final

from pydantic import Field
from torch import Tensor

from toolkit.core.context import Asking, Context
from toolkit.learning.compressors import qsgd
from toolkit.learning.flat import FlatLayout
from toolkit.methods.distributed import ExchangeMethod, Step
from toolkit.methods.distributed.compressed import CompressedState, begin, compressed_step, wire_bytes


@final
class Qsgd(ExchangeMethod[CompressedState]):
    """Each worker sends its gradient in 2s + 1 levels of the norm of each bucket; all average what they receive. No memory.

    ``d ceil(log2(2s+1))/8 + 4 d/b`` bytes by all-gather.

    Source: Alistarh et al. 2017, section 3.1; bucket and levels of its 4-bit experiments. Departures: see the compressor.
    """

    partial: ClassVar[bool] = True

    levels: int = Field(7, ge=1, le=127, description="levels per sign (s); 7 makes 4 bits, 1 makes 2 bits, 127 makes 8 bits")
    bucket: int = Field(512, ge=1, description="consecutive coordinates that share a norm (b)")
    norm: Literal["l2", "max"] = Field("l2", description="norm of a bucket: Euclidean, or the largest magnitude (less variance)")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum factor, on the averaged gradient")
    dense_below: int = Field(0, ge=0, description="tensors of fewer elements travel whole, together in one all-reduce")

    @property
    def by_part(self) -> bool:
        return True

    def init(self, ctx: Context, layout: FlatLayout) -> CompressedState:
        return begin(layout, self.dense_below, self.momentum)

    def step(self, ctx: Context, state: CompressedState, weights: Tensor, gradient: Tensor, step: Step) -> Asking:
        yield from compressed_step(ctx, state, self._compressor(), weights=weights, gradient=gradient, step=step, momentum=self.momentum)

    def _compressor(self) -> qsgd.QsgdCompressor:
        return qsgd.QsgdCompressor(self.levels, self.bucket, self.norm)

    def wire_bytes(self, layout: FlatLayout) -> float:
        return wire_bytes(layout, self.dense_below, self._compressor())
