"""gTop-k: sparse gradients are merged in a tree that keeps the k largest sums at each of its nodes."""

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
from toolkit.learning.top_k import top_k
from toolkit.methods.distributed import ExchangeMethod, Step
from toolkit.methods.distributed.sparse import PAIR_BYTES, Split, charged, choosing, count, exchange_whole, moving, pack, unpack


@dataclass
class GTopKState:
    """What a worker keeps between steps."""

    split: Split
    k: int
    error: Tensor
    """What was never sent, per compressed coordinate."""
    momentum: Tensor
    """Of the worker's own gradients (form `local`) or of the updates (form `global`); empty without momentum."""
    velocity: Tensor
    """Momentum of the small tensors."""


@final
class GTopK(ExchangeMethod[GTopKState]):
    """Each worker chooses its k largest coordinates; pairs of workers add theirs and keep the k largest, up to one, which tells all.

    ``2Lα + 4kL·4β`` with ``L = ceil(log2 P)``: k values and k indices per level, up and down. Any number of workers: a rank without
    partner waits for the next level.

    Source: Shi et al. 2019 (arXiv 1901.04359; hclhkbu/gtopkssgd).

    Departures: a coordinate may be dropped at one merge and yet be chosen in the end through another branch. Then the workers below
    that merge count their part as sent, and it would be lost; `dropped: keep` puts it into the error of the rank that merged, so that
    nothing is lost. `dropped: lose` is the published form. Momentum correction (form `local`) is DGC's.
    """

    k: int | None = Field(None, ge=1, description="coordinates changed per step; without it the share `density`")
    density: float = Field(0.01, gt=0, le=1, description="share of the coordinates changed per step, where k is not given")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum factor")
    form: Literal["global", "local"] = Field(
        "global", description="momentum of the summed sparse gradients, as in the paper, or of each worker's own (momentum correction)"
    )
    masking: bool = Field(True, description="form local: forget the momentum of coordinates that were just sent")
    dropped: Literal["keep", "lose"] = Field("keep", description="what a merge drops although another branch carries its coordinate home")
    lr_inside: bool = Field(False, description="the learning rate scales what is accumulated, not the update at the end")
    dense_below: int = Field(0, ge=0, description="tensors of fewer elements travel whole, together in one all-reduce")

    def init(self, ctx: Context, layout: FlatLayout) -> GTopKState:
        split = Split.of(layout, self.dense_below)
        k = count(self.k, self.density, split.size)
        sizes = (split.size, split.size if self.momentum else 0, split.small_size)
        return GTopKState(split, k, *(torch.zeros(size, device=ctx.accelerator) for size in sizes))

    def step(self, ctx: Context, state: GTopKState, weights: Tensor, gradient: Tensor, step: Step) -> Asking:
        yield from exchange_whole(
            ctx, state.split, velocity=state.velocity, momentum=self.momentum, weights=weights, gradient=gradient, step=step
        )
        error, size = state.error, state.error.numel()
        u = state.split.compressed(gradient)
        local = self.form == "local" and self.momentum > 0
        if local:
            u = state.momentum.mul_(self.momentum).add_(u)
        error.add_(u, alpha=step.lr if self.lr_inside else 1.0)
        picked = top_k(error, state.k)
        mine = error[picked]
        error[picked] = 0
        yield charged(ctx, moving(size, 4, 4, 2, 3) + choosing(size, state.k) + moving(state.k, 0, 2, 2, 2))

        lost_values, lost = yield from self._merged(ctx, mine, picked, state.k)
        values, chosen = lost_values[0], lost[0]
        message = yield from ctx.broadcast(pack(values, chosen), 0, "gradient")
        values, chosen = unpack(message)

        sent = torch.isin(picked, chosen)
        error[picked[~sent]] = mine[~sent]  # chosen here, dropped on the way: back to the residual
        if self.dropped == "keep":
            for value, index in zip(lost_values[1:], lost[1:], strict=True):
                astray = torch.isin(index, chosen)  # dropped here, yet their owners see the coordinate come home
                error.index_add_(0, index[astray], value[astray])
        if local and self.masking:
            state.momentum[picked[sent]] = 0
        yield from self._apply(ctx, state, weights, values, chosen, step)

    @staticmethod
    def _merged(ctx: Context, values: Tensor, indices: Tensor, k: int) -> Asking:
        """Return lists of values and indices: first the k largest sums of this rank's part of the tree, then what each merge dropped."""
        dropped_values, dropped = [], []
        level = 1
        while level < ctx.size:
            if ctx.rank & level:
                message = pack(values, indices)
                yield ctx.send(ctx.rank - level, message.nbytes, "gradient", message)
                break
            if ctx.rank + level < ctx.size:
                message = yield ctx.recv(ctx.rank + level, pack(values, indices))
                theirs, where = unpack(message)
                union, place = torch.unique(torch.cat([indices, where]), return_inverse=True)
                sums = values.new_zeros(union.numel()).index_add_(0, place, torch.cat([values, theirs]))
                kept = torch.zeros_like(union, dtype=torch.bool)
                kept[top_k(sums, k)] = True
                dropped_values.append(sums[~kept])
                dropped.append(union[~kept])
                values, indices = sums[kept], union[kept]
                yield ctx.compute(merging(k).beyond_first(), "merge")
            level <<= 1
        return [values, *dropped_values], [indices, *dropped]

    def _apply(self, ctx: Context, state: GTopKState, weights: Tensor, values: Tensor, chosen: Tensor, step: Step) -> Asking:
        rate = 1.0 if self.lr_inside else step.lr
        work = moving(state.k, 2, 4, 2, 8)  # what was dropped goes back, what was chosen is applied
        if self.form == "global" and self.momentum:
            state.momentum.mul_(self.momentum).index_add_(0, chosen, values, alpha=1 / ctx.size)
            state.split.add_compressed(weights, state.momentum, -rate)
            work += moving(state.momentum.numel(), 3, 3, 2, 2 + len(state.split.large))
        else:
            weights.index_add_(0, state.split.places(chosen), values, alpha=-rate / ctx.size)
        yield charged(ctx, work)

    def wire_bytes(self, layout: FlatLayout) -> float:
        """The tree sends the pairs as a binomial all-reduce would send a vector of that many bytes."""
        split = Split.of(layout, self.dense_below)
        return PAIR_BYTES * count(self.k, self.density, split.size) + FLOAT_BYTES * split.small_size


def merging(k: int) -> Work:
    """The work of adding two lists of k pairs and keeping k: a sort of 2k pairs (log2 2k passes), a sum and a choice."""
    pairs = 2.0 * k
    passes = math.ceil(math.log2(pairs)) + 3
    return Work(pairs * passes, PAIR_BYTES * pairs * passes, PAIR_BYTES * pairs * passes, 12.0)
