"""ARC-Top-k: a small random projection tells all workers which rows of each matrix are large; these rows are summed without indices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, final

import torch
from pydantic import Field
from torch import Tensor

from toolkit.core.context import Asking, Context
from toolkit.core.work import FLOAT_BYTES, Work
from toolkit.learning.flat import FlatLayout
from toolkit.learning.random import torch_generator
from toolkit.learning.top_k import top_k
from toolkit.methods.distributed import ExchangeMethod, Step
from toolkit.methods.distributed.sparse import Split, charged, exchange_whole, moving


@dataclass
class Ef14State:
    """Classic error feedback."""

    split: Split
    matrices: tuple[tuple[int, int], ...]
    error: Tensor
    momentum: Tensor
    velocity: Tensor


@dataclass
class Ef21State:
    """EF21M: every worker tracks its gradient, and all know the mean of what they told each other of it."""

    split: Split
    matrices: tuple[tuple[int, int], ...]
    tracker: Tensor
    """v, the smoothed gradient of this worker; empty until the first step."""
    estimate: Tensor
    """g_i, what the others know of it."""
    mean_estimate: Tensor
    """The mean of all workers' estimates: the direction of descent."""
    velocity: Tensor


@final
class ArcTopK(ExchangeMethod[Ef14State | Ef21State]):
    """All-reduce the product of each matrix with a random one of `rank` columns, choose the rows with the largest norms, all-reduce them.

    Bytes: ``4 n rank`` for a matrix of n rows in the first round, ``4 ceil(density n) m`` in the second. A tensor is a matrix of its
    first dimension by the rest; vectors, and matrices for which this would be no fewer bytes, travel whole.

    Source: Chen et al. 2025 (arXiv 2510.26709). A reconstruction: from the paper we have the abstract (a sketch aligns the supports,
    index-free all-reduce, EF21 with momentum), and from two public re-implementations that rows of matrices are what is chosen, by the
    norms of a Gaussian projection of rank 4 with a shared seed.

    Departures: EF21M begins with a compressed first gradient instead of a whole one. The projection is not scaled, since only the order
    of norms within one matrix matters.
    """

    density: float = Field(0.1, gt=0, le=1, description="share of the rows of each matrix that travel per step")
    rank: int = Field(4, ge=1, description="columns of the random projection")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum factor; form ef21m smooths by it: v = m v + (1 - m) g")
    form: Literal["ef21m", "ef14"] = Field("ef21m", description="EF21 with momentum, as in the paper, or classic error feedback")
    masking: bool = Field(True, description="form ef14: forget the momentum of coordinates that were just sent")
    lr_inside: bool = Field(False, description="form ef14: the learning rate scales what is accumulated, not the update at the end")
    dense_below: int = Field(0, ge=0, description="tensors of fewer elements travel whole, together in one all-reduce")

    def init(self, ctx: Context, layout: FlatLayout) -> Ef14State | Ef21State:
        split, matrices = self._plan(layout)
        sizes = (split.size, split.size if self.momentum else 0) if self.form == "ef14" else (0, split.size, split.size)
        vectors = [torch.zeros(size, device=ctx.accelerator) for size in (*sizes, split.small_size)]
        return Ef14State(split, matrices, *vectors) if self.form == "ef14" else Ef21State(split, matrices, *vectors)

    def step(self, ctx: Context, state: Ef14State | Ef21State, weights: Tensor, gradient: Tensor, step: Step) -> Asking:
        yield from exchange_whole(
            ctx, state.split, velocity=state.velocity, momentum=self.momentum, weights=weights, gradient=gradient, step=step
        )
        if not state.matrices:
            return
        g = state.split.compressed(gradient)
        if isinstance(state, Ef14State):
            yield from self._ef14(ctx, state, weights, g, step)
        else:
            yield from self._ef21m(ctx, state, weights, g, step)

    def _ef14(self, ctx: Context, state: Ef14State, weights: Tensor, g: Tensor, step: Step) -> Asking:
        u = state.momentum.mul_(self.momentum).add_(g) if self.momentum else g
        state.error.add_(u, alpha=step.lr if self.lr_inside else 1.0)
        yield charged(ctx, moving(g.numel(), 4, 4, 2, 3))
        places, _, total = yield from self._exchanged(ctx, state.matrices, state.error, step)
        rate = (1.0 if self.lr_inside else step.lr) / ctx.size
        weights.index_add_(0, state.split.places(places), total, alpha=-rate)
        state.error[places] = 0
        if self.masking and self.momentum:
            state.momentum[places] = 0
        yield charged(ctx, moving(places.numel(), 2, 4, 3, 5))

    def _ef21m(self, ctx: Context, state: Ef21State, weights: Tensor, g: Tensor, step: Step) -> Asking:
        if state.tracker.numel():
            state.tracker.mul_(self.momentum).add_(g, alpha=1 - self.momentum)  # v = (1 - eta) v + eta g
        else:
            state.tracker = g.clone()
        yield charged(ctx, moving(g.numel(), 4, 3, 2, 3))
        change = state.tracker - state.estimate
        places, mine, total = yield from self._exchanged(ctx, state.matrices, change, step)
        state.estimate.index_add_(0, places, mine)  # g_i = g_i + C(v - g_i)
        state.mean_estimate.index_add_(0, places, total, alpha=1 / ctx.size)
        state.split.add_compressed(weights, state.mean_estimate, -step.lr)
        yield charged(ctx, moving(places.numel(), 3, 6, 2, 2) + moving(g.numel(), 2, 2, 1, len(state.split.large)))

    def _exchanged(self, ctx: Context, matrices: tuple[tuple[int, int], ...], vector: Tensor, step: Step) -> Asking:
        """Agree on rows and sum them; return their places in *vector*, this worker's values there, and the sums."""
        parts = [part.view(shape) for part, shape in zip(vector.split_with_sizes([n * m for n, m in matrices]), matrices, strict=True)]
        generator = torch_generator(ctx.shared_rng("arc_top_k", step.index))
        sketches = [part @ torch.randn(part.shape[1], self.rank, generator=generator).to(part.device) for part in parts]
        yield charged(ctx, projecting(matrices, self.rank))
        summed = yield from ctx.all_reduce(torch.cat([sketch.view(-1) for sketch in sketches]), "sketch")

        places, begin = [], 0
        for (n, m), sketch in zip(matrices, summed.split_with_sizes([n * self.rank for n, _ in matrices]), strict=True):
            norms = sketch.view(n, self.rank).square().sum(1)
            rows = top_k(norms, self._kept(n)).sort().values
            places.append((begin + rows[:, None] * m + torch.arange(m, device=rows.device)).view(-1))
            begin += n * m
        where = torch.cat(places)
        mine = vector[where]
        yield charged(ctx, moving(summed.numel(), 4, 2, 1, 4 * len(matrices)) + moving(where.numel(), 0, 3, 3, 2 + 4 * len(matrices)))
        return where, mine, (yield from ctx.all_reduce(mine, "values"))

    def _kept(self, rows: int) -> int:
        return math.ceil(self.density * rows)

    def _plan(self, layout: FlatLayout) -> tuple[Split, tuple[tuple[int, int], ...]]:
        """Which tensors are compressed, and as which matrices."""
        split = Split.by(layout, self._is_compressed)
        return split, tuple((shape[0], math.prod(shape[1:])) for shape in layout.shapes if self._is_compressed(shape))

    def _is_compressed(self, shape: tuple[int, ...]) -> bool:
        if len(shape) < 2 or math.prod(shape) < max(self.dense_below, 1):
            return False
        n, m = shape[0], math.prod(shape[1:])
        return n * self.rank + self._kept(n) * m < n * m

    def wire_bytes(self, layout: FlatLayout) -> float:
        split, matrices = self._plan(layout)
        return FLOAT_BYTES * (split.small_size + sum(n * self.rank + self._kept(n) * m for n, m in matrices))


def projecting(matrices: tuple[tuple[int, int], ...], rank: int) -> Work:
    """The work of drawing an m x rank matrix (some ten operations per normal number) and multiplying by it, for each n x m matrix."""
    work = Work()
    for n, m in matrices:
        products = 2.0 * n * m * rank
        work += Work(products, FLOAT_BYTES * (n * m + m * rank), FLOAT_BYTES * n * rank, launches=1, matrix_flops=products)
        work += moving(m * rank, 10, 0, 1)
    return work
