"""Deep Gradient Compression: Top-k with momentum correction, local clipping, momentum factor masking and a warm-up of the density."""

from __future__ import annotations

from functools import partial
from typing import Annotated, final

from pydantic import Field
from torch import Tensor

from toolkit.core.context import Asking, Context
from toolkit.learning.compressors.memory import Corrected
from toolkit.learning.compressors.top_k import TopKCompressor
from toolkit.learning.flat import FlatLayout
from toolkit.methods.distributed import ExchangeMethod, Step
from toolkit.methods.distributed.compressed import CompressedState, begin, compressed_step, wire_bytes
from toolkit.methods.distributed.sparse import Split, charged, count, moving


@final
class Dgc(ExchangeMethod[CompressedState]):
    """u <- m u + g; v <- v + u; send the k largest of v; u, v <- 0 there. ``8 k`` bytes by all-gather.

    Source: Lin et al. 2018, Alg. 4 (without its Nesterov form) and section 3.3. Departure: the largest of all tensors together, which
    is what Top-k and gTop-k here choose too, or of each part that is exchanged during the backward pass; not of each tensor.
    """

    density: float = Field(0.001, gt=0, le=1, description="share of the coordinates sent per step, after the warm-up")
    warmup: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        (0.25, 0.0625, 0.015625, 0.004), description="densities of the warm-up, stage by stage"
    )
    warmup_steps: int = Field(20, ge=0, description="steps of each stage (an epoch in the paper); 0 for no warm-up")
    clip_norm: float = Field(0.0, ge=0, description="largest norm of the mean gradient, of which each worker takes P^-1/2; 0 for any")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum factor (m), on each worker's own gradients")
    masking: bool = Field(True, description="forget the momentum of coordinates that were just sent")
    lr_inside: bool = Field(False, description="the learning rate scales what is accumulated, not the update at the end")
    dense_below: int = Field(0, ge=0, description="tensors of fewer elements travel whole, together in one all-reduce")

    @property
    def settles_after(self) -> int:
        return self.warmup_steps * len(self.warmup)

    @property
    def by_part(self) -> bool:
        """The norm is that of the whole gradient, and a part may have no tensor that is large enough."""
        return not self.clip_norm and not self.dense_below

    def init(self, ctx: Context, layout: FlatLayout) -> CompressedState:
        memory = partial(Corrected.zeros, momentum=self.momentum, masking=self.masking)
        state = begin(layout, self.dense_below, 0.0, memory)  # no momentum after the exchange: it is in the memory
        count(None, self.density, state.split.size)  # refuses a model of which nothing is compressed
        return state

    def step(self, ctx: Context, state: CompressedState, weights: Tensor, gradient: Tensor, step: Step) -> Asking:
        if self.clip_norm:
            gradient = clipped(gradient, self.clip_norm * ctx.size**-0.5)  # Alg. 4, l. 6
            yield charged(ctx, moving(gradient.numel(), 3, 2, 1, 2))
        compressor = TopKCompressor(count(None, self.density_at(step.index), state.split.size))
        yield from compressed_step(
            ctx, state, compressor, weights=weights, gradient=gradient, step=step, momentum=self.momentum, lr_inside=self.lr_inside
        )

    def density_at(self, index: int) -> float:
        """The density of a step: that of its stage of the warm-up, then the final one; never below that."""
        stage = index // self.warmup_steps if self.warmup_steps else len(self.warmup)
        return max(self.density, self.warmup[stage]) if stage < len(self.warmup) else self.density

    def wire_bytes(self, layout: FlatLayout) -> float:
        """Bytes of a step after the warm-up."""
        return wire_bytes(layout, self.dense_below, TopKCompressor(count(None, self.density, Split.of(layout, self.dense_below).size)))


def clipped(gradient: Tensor, norm: float) -> Tensor:
    """Return *gradient*, shortened to *norm* where it is longer."""
    length = float(gradient.norm())
    return gradient * (norm / length) if length > norm else gradient
