"""FetchSGD: workers without memory send sketches; the server keeps momentum and error inside its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import torch
from pydantic import Field
from torch import Tensor

from toolkit.collectives import post
from toolkit.collectives.all_reduce.parameter_server import ParameterServerAllReduce
from toolkit.core.context import Asking, Context
from toolkit.core.work import FLOAT_BYTES, Work
from toolkit.learning.flat import FlatLayout
from toolkit.learning.sketch import CountSketch
from toolkit.learning.sketch_sizes import columns
from toolkit.methods.distributed import Step
from toolkit.methods.distributed.gs_sgd import forget, forgetting
from toolkit.methods.distributed.served_sketch import ServedSketch, gathered, told
from toolkit.methods.distributed.sparse import PAIR_BYTES, Split, charged, exchange_whole, moving, pack, unpack


@dataclass
class FetchSgdState:
    """The tables are the server's; those of a worker are empty."""

    split: Split
    sketch: CountSketch
    k: int
    error_table: Tensor
    momentum_table: Tensor
    velocity: Tensor


@final
class FetchSgd(ServedSketch[FetchSgdState]):
    """Tables up, k pairs of value and index down; one server. ``(α+P·4rcβ) + (α+P·8kβ)``.

    V = m V + mean of the tables; E = E + V; Δ = the k largest estimates of E; w = w - lr Δ; then Δ leaves E.

    Source: Rothchild et al. 2020 (arXiv 2007.07682), and the public CommEfficient for `sketch_error`. The paper's tables are large
    (5 x 500,000 for 6.6 million parameters, k = 50,000): with the estimates as the update, the columns decide about convergence.

    Departure: the paper scales by the learning rate inside (E = E + lr V); here that is `lr_inside`, off as everywhere. The same for
    a constant rate. Momentum is the server's, inside its sketch.
    """

    sketch_error: Literal["zero", "subtract"] = Field(
        "zero", description="empty every touched cell, or subtract the sketch of the update (as published; CommEfficient saw it diverge)"
    )

    def init(self, ctx: Context, layout: FlatLayout) -> FetchSgdState:
        split, sketch, k = self.open_sketch(ctx, layout)
        shape = (sketch.rows, sketch.cols) if ctx.is_server else (0, 0)
        error, momentum = (torch.zeros(shape, device=ctx.accelerator) for _ in range(2))
        velocity = torch.zeros(0 if ctx.is_server else split.small_size, device=ctx.accelerator)
        return FetchSgdState(split, sketch, k, error, momentum, velocity)

    def step(self, ctx: Context, state: FetchSgdState, weights: Tensor, gradient: Tensor, step: Step) -> Asking:
        yield from exchange_whole(
            ctx, state.split, velocity=state.velocity, momentum=self.momentum, weights=weights, gradient=gradient, step=step,
            schedule=ParameterServerAllReduce()
        )
        sketch, server = state.sketch, ctx.size
        table = sketch.encode(state.split.compressed(gradient)).view(-1)
        yield charged(ctx, Work(*sketch.encode_work(state.split.size)))
        yield post(ctx, server, table, "sketch")
        values, picked = unpack((yield ctx.recv(server, state.error_table.new_empty(2 * state.k, dtype=torch.int32))))
        weights.index_add_(0, state.split.places(picked), values, alpha=-(1.0 if self.lr_inside else step.lr))
        yield charged(ctx, moving(state.k, 2, 4, 1, 4))

    def serve(self, ctx: Context, state: FetchSgdState, layout: FlatLayout, step: Step) -> Asking:
        if state.split.small:
            yield from ctx.all_reduce(state.error_table.new_empty(state.split.small_size), "dense", ParameterServerAllReduce())
        sketch = state.sketch
        table = yield from gathered(ctx, state.error_table.new_empty(sketch.rows * sketch.cols), "sketch")
        state.momentum_table.mul_(self.momentum).add_(table.view(sketch.rows, sketch.cols), alpha=1 / ctx.size)
        state.error_table.add_(state.momentum_table, alpha=step.lr if self.lr_inside else 1.0)
        picked = sketch.top_k(state.error_table, state.k)
        update = sketch.estimate(state.error_table, picked)
        momentum = state.momentum_table if self.masking else None
        forget(sketch, state.error_table, momentum, picked, update, self.sketch_error)
        work = moving(table.numel(), 4, 4, 2, 3) + Work(*sketch.top_k_work(state.split.size, state.k))
        yield charged(ctx, work + forgetting(sketch, state.k))
        yield from told(ctx, pack(update, picked), "update")

    def wire_bytes(self, layout: FlatLayout) -> float:
        """What a worker sends up; `down_bytes` come down to it."""
        split, k = self.split_of(layout)
        return FLOAT_BYTES * (self.rows * columns(self.cols, k) + split.small_size)

    def down_bytes(self, layout: FlatLayout) -> float:
        """What the server sends down to each worker per step."""
        split, k = self.split_of(layout)
        return PAIR_BYTES * k + FLOAT_BYTES * split.small_size
