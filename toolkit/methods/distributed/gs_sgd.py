"""gs-SGD: the workers sum a sketch of their gradients, and from it know which coordinates are worth sending exactly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self, final

import torch
from pydantic import Field, model_validator
from torch import Tensor

from toolkit.core.context import Asking, Context
from toolkit.core.work import FLOAT_BYTES, Work
from toolkit.learning.flat import FlatLayout
from toolkit.learning.gs_sgd import choose, find_candidates, forget_sent
from toolkit.learning.sketch import CountSketch
from toolkit.learning.sketch_sizes import candidates as candidate_count
from toolkit.learning.sketch_sizes import check_table, columns
from toolkit.learning.top_k import top_k
from toolkit.methods.distributed import ExchangeMethod, Step
from toolkit.methods.distributed.sparse import Split, charged, choosing, count, exchange_whole, moving, new_sketch


@dataclass
class LocalState:
    """With the exact second round: what this worker has not sent yet."""

    split: Split
    sketch: CountSketch
    k: int
    error: Tensor
    """What was never sent (e), per compressed coordinate; in units of the gradient, or of the weights with `lr_inside`."""
    momentum: Tensor
    """u, likewise; empty without momentum."""
    velocity: Tensor
    """Momentum of the small tensors."""


@dataclass
class TableState:
    """Without the second round: error and momentum as tables, the same on every worker."""

    split: Split
    sketch: CountSketch
    k: int
    error_table: Tensor
    momentum_table: Tensor
    """V of the virtual form, else empty."""
    momentum: Tensor
    """u of the local form, else empty."""
    velocity: Tensor


@final
class GsSgd(ExchangeMethod[LocalState | TableState]):
    """Count-Sketch of the error-corrected gradient, summed by any all-reduce; two rounds, no indices on the wire.

    Bytes: ``4 rows cols`` in the first round, ``4 p2 k`` in the second, and the small tensors. With a tree these cross ``2 log2 P``
    links one after the other (the paper's ``O(log d log P)``: rows grow with log d); a bandwidth-optimal schedule has no log P at all.

    Source: Dai, Diao, Li and Xu 2021 (arXiv 2108.06004), of which we could read the abstract; the step is pieced together from it,
    from Sketched-SGD (Ivkin et al. 2019; the second round, momentum factor masking) and from FetchSGD (Rothchild et al. 2020; the
    virtual form).

    Departures: the learning rate multiplies the update at the end unless `lr_inside` is set. The sketch-only table of errors is held
    by every worker, because there is no server. Recall against the true global top-k is not reported: no worker knows it without
    traffic of its own.
    """

    partial: ClassVar[bool] = True

    k: int | None = Field(None, ge=1, description="coordinates changed per step; without it the share `density`")
    density: float = Field(0.01, gt=0, le=1, description="share of the coordinates changed per step, where k is not given")
    rows: int = Field(5, ge=1, description="rows of the sketch (r); odd")
    cols: int | None = Field(None, ge=16, description="columns of the sketch (c), a multiple of 16; without it 10 k")
    p2: int = Field(4, ge=1, description="candidates per chosen coordinate that the second round compares exactly")
    exact: bool = Field(True, description="second round with exact values; else the estimates of the sketch are the update")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum factor (m)")
    form: Literal["local", "virtual", "none"] = Field(
        "local", description="momentum before the sketch on each worker, inside the sketch (needs exact: false), or none"
    )
    masking: bool = Field(True, description="forget the momentum of coordinates that were just changed")
    lr_inside: bool = Field(False, description="the learning rate scales what is accumulated, not the update at the end")
    p1: int = Field(0, ge=0, description="if above 0, only the p1 k largest coordinates of each worker are sketched")
    sketch_error: Literal["zero", "subtract"] = Field(
        "zero",
        description="exact: false: empty every touched cell of the tables, or subtract the sketch of the update; "
        "a public implementation of FetchSGD found that subtracting diverged",
    )
    dense_below: int = Field(0, ge=0, description="tensors of fewer elements travel whole, together in one all-reduce")
    deterministic: bool = Field(False, description="fixed-point tables (int32): the same bits whatever the order of additions")
    fraction_bits: int = Field(
        20, ge=-64, le=64, description="deterministic: cells count in units of 2^-bits, and P summed tables reach to 2^(31 - bits)"
    )
    watch_every: int = Field(0, ge=0, description="steps between two looks at how well the sketch chooses; 0 for never")

    @model_validator(mode="after")
    def _sane(self) -> Self:
        check_table(self.rows, self.cols)
        if self.form == "virtual" and self.exact:
            raise ValueError("form: virtual keeps error and momentum inside the sketch, where no worker has exact values; set exact: false")
        if self.p1 and not self.exact:
            raise ValueError(f"p1: {self.p1} loses what is not sketched when exact is false, because no worker keeps it; set p1: 0")
        return self

    def init(self, ctx: Context, layout: FlatLayout) -> LocalState | TableState:
        split = Split.of(layout, self.dense_below)
        k = count(self.k, self.density, split.size)
        sketch = new_sketch(ctx, self.rows, self.cols, k, split.size, self.fraction_bits if self.deterministic else None)
        where = ctx.accelerator
        momentum = torch.zeros(split.size if self.form == "local" and self.momentum else 0, device=where)
        velocity = torch.zeros(split.small_size, device=where)
        if self.exact:
            return LocalState(split, sketch, k, error=torch.zeros(split.size, device=where), momentum=momentum, velocity=velocity)
        table = torch.zeros(sketch.rows, sketch.cols, device=where)
        virtual = table.clone() if self.form == "virtual" else table[:0]
        return TableState(split, sketch, k, error_table=table, momentum_table=virtual, momentum=momentum, velocity=velocity)

    def step(self, ctx: Context, state: LocalState | TableState, weights: Tensor, gradient: Tensor, step: Step) -> Asking:
        momentum = 0.0 if self.form == "none" else self.momentum
        yield from exchange_whole(
            ctx, state.split, velocity=state.velocity, momentum=momentum, weights=weights, gradient=gradient, step=step
        )
        u = state.split.compressed(gradient)
        if state.momentum.numel():
            u = state.momentum.mul_(self.momentum).add_(u)  # u = m u + g
        if isinstance(state, LocalState):
            yield from self._exact(ctx, state, weights, u, step)
        else:
            yield from self._sketch_only(ctx, state, weights, u, step)

    def _exact(self, ctx: Context, state: LocalState, weights: Tensor, u: Tensor, step: Step) -> Asking:
        sketch, k, error = state.sketch, state.k, state.error
        error.add_(u, alpha=step.lr if self.lr_inside else 1.0)  # e = e + lr u
        yield charged(ctx, moving(error.numel(), 4, 4, 2, 3))

        table = yield from self._summed(ctx, sketch, (yield from self._truncated(ctx, error, k)))  # T = allreduce(sketch(e))
        candidates = find_candidates(sketch, table, k=k, p2=self.p2, size=error.numel())  # cand = top_{p2 k} |estimate(T)|
        yield charged(ctx, Work(*sketch.top_k_work(error.numel(), candidates.numel())))

        values = yield from ctx.all_reduce(error[candidates], "values")  # x = allreduce(e[cand]), no indices
        best, picked, update = choose(candidates, values, k)  # I = top_k |x|
        self._watch(ctx, step, sketch, table=table, candidates=candidates, values=values, best=best)

        rate = (1.0 if self.lr_inside else step.lr) / ctx.size
        weights.index_add_(0, state.split.places(picked), update, alpha=-rate)  # w[cand[I]] -= x[I] / P
        forget_sent(picked, error, state.momentum if self.masking else None)  # e[cand[I]] = u[cand[I]] = 0
        yield charged(ctx, choosing(values.numel(), k) + moving(k, 2, 4, 3, 7))

    def _truncated(self, ctx: Context, error: Tensor, k: int) -> Asking:
        """What of *error* is sketched: all of it, or its p1 k largest coordinates."""
        if not self.p1 or self.p1 * k >= error.numel():
            return error
        kept = top_k(error, self.p1 * k)
        sparse = torch.zeros_like(error)
        sparse[kept] = error[kept]
        yield charged(ctx, choosing(error.numel(), kept.numel()) + moving(error.numel(), 0, 0, 1, 3))
        return sparse

    def _summed(self, ctx: Context, sketch: CountSketch, vector: Tensor) -> Asking:
        """The table of the sum of all workers' vectors."""
        table = sketch.encode(vector)
        yield charged(ctx, Work(*sketch.encode_work(vector.numel())))
        return (yield from ctx.all_reduce(table.view(-1), "sketch")).view(sketch.rows, sketch.cols)

    def _sketch_only(self, ctx: Context, state: TableState, weights: Tensor, u: Tensor, step: Step) -> Asking:
        """FetchSGD without its server: every worker keeps the server's tables."""
        sketch, k = floating(state.sketch), state.k
        if state.momentum.numel():
            yield charged(ctx, moving(u.numel(), 2, 2, 1, 2))
        table = (yield from self._summed(ctx, state.sketch, u)) * state.sketch.unit
        if state.momentum_table.numel():
            table = state.momentum_table.mul_(self.momentum).add_(table)  # V = m V + T
        state.error_table.add_(table, alpha=step.lr if self.lr_inside else 1.0)  # E = E + V
        picked = sketch.top_k(state.error_table, k)
        update = sketch.estimate(state.error_table, picked)  # the k largest estimates of E
        self._watch(
            ctx, step, sketch, table=state.error_table, candidates=picked, values=update, best=torch.arange(k, device=picked.device)
        )

        rate = (1.0 if self.lr_inside else step.lr) / ctx.size
        weights.index_add_(0, state.split.places(picked), update, alpha=-rate)
        forget(sketch, state.error_table, state.momentum_table if self.masking else None, picked, update, self.sketch_error)
        if self.masking and state.momentum.numel():
            state.momentum[picked] = 0
        work = moving(table.numel(), 4, 4, 2, 4) + Work(*sketch.top_k_work(u.numel(), k)) + moving(k, 2, 4, 3, 4)
        yield charged(ctx, work + forgetting(sketch, k))

    def _watch(
        self, ctx: Context, step: Step, sketch: CountSketch, *, table: Tensor, candidates: Tensor, values: Tensor, best: Tensor
    ) -> None:
        """Record how well the sketch chose, as far as a worker can know it without asking the others anything.

        ``sketch_recall``: share of the exact best k of the candidates that the k best estimates would have found.
        ``sketch_energy``: share of the energy of the whole summed vector that the chosen k carry; the table itself says the former.
        """
        if ctx.rank or not self.watch_every or step.index % self.watch_every:
            return
        energy = float((table * sketch.unit).square().sum(1).median())
        if energy > 0:
            ctx.metric("sketch_energy", float(values[best].square().sum()) / energy, step=step.index)
        if self.exact:
            guessed = top_k(sketch.estimate(table, candidates), best.numel())
            ctx.metric("sketch_recall", float(torch.isin(guessed, best).float().mean()), step=step.index)

    def wire_bytes(self, layout: FlatLayout) -> float:
        split = Split.of(layout, self.dense_below)
        k = count(self.k, self.density, split.size)
        second = candidate_count(self.p2, k, split.size) if self.exact else 0
        return FLOAT_BYTES * (self.rows * columns(self.cols, k) + second + split.small_size)


def floating(sketch: CountSketch) -> CountSketch:
    """Return the sketch with the same hashes whose tables are of float32."""
    return replace(sketch, fraction_bits=None)


def forget(sketch: CountSketch, error: Tensor, momentum: Tensor | None, picked: Tensor, update: Tensor, how: str) -> None:
    """Take an *update* of the coordinates *picked* out of the table of errors, and out of that of the momentum where there is one.

    ``zero`` empties every cell they hash to, as CommEfficient's FetchSGD does; ``subtract`` takes away the sketch of the update, which
    keeps the sum of updates and errors equal to that of the gradients, yet was seen to diverge there. The momentum's cells are emptied
    either way.
    """
    columns, signs = sketch.cells(picked)
    for row in range(sketch.rows):
        if how == "zero":
            error[row, columns[row]] = 0
        else:
            error[row].index_add_(0, columns[row], signs[row] * update, alpha=-1)
        if momentum is not None and momentum.numel():
            momentum[row, columns[row]] = 0


def forgetting(sketch: CountSketch, k: int) -> Work:
    """The work of `forget`: k coordinates hashed for each row (some 16 operations), and two cells written for each."""
    return moving(sketch.rows * k, 16, 3, 2, 32 * sketch.rows)
