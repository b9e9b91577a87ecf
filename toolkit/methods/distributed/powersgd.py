"""PowerSGD: the workers together find a low-rank approximation of the mean of their gradients, matrix by matrix."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal, final

import torch
from pydantic import Field
from torch import Tensor

from toolkit.core.context import Asking, Context
from toolkit.core.work import FLOAT_BYTES, Work
from toolkit.learning.compressors import powersgd
from toolkit.learning.compressors.memory import Residual
from toolkit.learning.flat import FlatLayout
from toolkit.learning.random import torch_generator
from toolkit.methods.distributed import ExchangeMethod, Step
from toolkit.methods.distributed.sparse import Split, charged, moving


@dataclass
class PowerSgdState:
    """What a worker keeps between steps."""

    split: Split
    compressor: powersgd.PowerSgdCompressor
    memory: Residual
    """What the approximation missed, per coordinate of the compressed matrices."""
    right: Tensor
    """Q of the last step, the same on every worker."""
    velocity: Tensor
    """Momentum (d,), the same on every worker; empty without."""

    @property
    def error(self) -> Tensor:
        return self.memory.error


@final
class PowerSgd(ExchangeMethod[PowerSgdState]):
    """M <- g + e; P <- orthogonal(mean of M Q); Q <- mean of M^T P; e <- M - P Q^T. ``4 rank (n + m)`` bytes per n x m matrix.

    Two all-reduces, after one of all tensors that stay whole: vectors, and matrices for which ``(n + m) rank min_rate < n m`` fails.
    A tensor of more dimensions is a matrix of its first by all others.

    Source: Vogels, Karimireddy and Jaggi 2019, Alg. 1 and 2. Its momentum is ``m <- b m + g, w <- w - lr (g + m)``, which moves further
    than torch's, hence `form`; with momentum 0 both are plain SGD. Replicas are equal to the bit as long as all workers compute QR
    alike (same library, same kind of machine).
    """

    rank: int = Field(2, ge=1, description="rank of the approximation (q)")
    min_rate: float = Field(2.0, ge=1, description="compress only matrices that get smaller by more than this factor")
    warm_start: bool = Field(True, description="begin with the Q of the last step, instead of a random one")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum factor, on the averaged gradient")
    form: Literal["paper", "torch"] = Field("paper", description="w moves by g + m, or by m alone as in torch")
    lr_inside: bool = Field(False, description="the learning rate scales what is accumulated, not the update at the end")
    dense_below: int = Field(0, ge=0, description="tensors of fewer elements travel whole")

    @property
    def by_part(self) -> bool:
        return True

    def init(self, ctx: Context, layout: FlatLayout) -> PowerSgdState:
        split, compressor = self._parted(layout)
        right = compressor.draw(torch_generator(ctx.shared_rng("powersgd")))
        return PowerSgdState(split, compressor, Residual.zeros(split.size), right, torch.zeros(layout.size if self.momentum else 0))

    def step(self, ctx: Context, state: PowerSgdState, weights: Tensor, gradient: Tensor, step: Step) -> Asking:
        split, scale = state.split, step.lr if self.lr_inside else 1.0
        mean = torch.zeros_like(gradient)
        matrices, left = yield from self._begun(ctx, state, split.compressed(gradient), scale, step)
        if split.small:
            total = yield from ctx.all_reduce(split.whole(gradient), "dense")
            split.add_whole(mean, total, scale / ctx.size)
        if split.large:
            approximation = yield from self._approximated(ctx, state, matrices, left)
            split.add_compressed(mean, approximation, 1.0)
        rate = 1.0 if self.lr_inside else step.lr
        work = moving(gradient.numel(), 2, 3, 2, 1 + len(split.large) + len(split.small))
        update = mean
        if self.momentum:
            state.velocity.mul_(self.momentum).add_(mean)  # Alg. 2, l. 12
            update = mean + state.velocity if self.form == "paper" else state.velocity  # l. 13
            work += moving(gradient.numel(), 3, 5, 3, 3) if self.form == "paper" else moving(gradient.numel(), 2, 3, 2, 2)
        weights.add_(update, alpha=-rate)
        yield charged(ctx, work)

    def _begun(self, ctx: Context, state: PowerSgdState, gradient: Tensor, scale: float, step: Step) -> Asking:
        """What is approximated, and this worker's P: all that it computes before it sends."""
        compressor, size = state.compressor, gradient.numel()
        if not size:
            yield charged(ctx, Work())
            return gradient, gradient
        if not self.warm_start:
            state.right = compressor.draw(torch_generator(ctx.shared_rng("powersgd", *step.key)))
        matrices = state.memory.add(gradient, scale)  # Alg. 2, l. 7
        left = compressor.left(matrices, state.right)  # Alg. 1, l. 3
        yield charged(ctx, Work(*state.memory.work()) + Work(*compressor.work(size)))
        return matrices, left

    def _approximated(self, ctx: Context, state: PowerSgdState, matrices: Tensor, left: Tensor) -> Asking:
        """The low-rank approximation of the mean over all workers of gradient and memory; what it misses goes into the memory."""
        compressor, size = state.compressor, matrices.numel()
        left = compressor.orthogonal((yield from ctx.all_reduce(left, "values")))  # l. 4 and 5
        total = yield from ctx.all_reduce(compressor.right(matrices, left), "values")  # l. 6 and 7
        state.right = total / ctx.size
        approximation = compressor.product(left, state.right)
        state.memory.error.sub_(approximation)  # Alg. 2, l. 9
        yield charged(ctx, Work(*compressor.add_work(size)))
        return approximation

    def _parted(self, layout: FlatLayout) -> tuple[Split, powersgd.PowerSgdCompressor]:
        """Which tensors are compressed, and as which matrices."""
        shapes = tuple((shape[0], prod(shape[1:])) for shape in layout.shapes if self._compresses(shape))
        return Split.by(layout, self._compresses), powersgd.PowerSgdCompressor(shapes, self.rank)

    def _compresses(self, shape: tuple[int, ...]) -> bool:
        if len(shape) < 2 or prod(shape) < self.dense_below:
            return False
        rows, cols = shape[0], prod(shape[1:])
        return (rows + cols) * self.rank * self.min_rate < rows * cols

    def wire_bytes(self, layout: FlatLayout) -> float:
        split, compressor = self._parted(layout)
        return FLOAT_BYTES * split.small_size + compressor.wire_bytes(split.size)
