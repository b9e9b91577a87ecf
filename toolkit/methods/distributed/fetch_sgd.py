"""FetchSGD: workers without memory send sketches; the server keeps momentum and error inside its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Self, final

import torch
from pydantic import Field, model_validator
from torch import Tensor

from toolkit.collectives import post
from toolkit.collectives.all_reduce.parameter_server import ParameterServer
from toolkit.core.context import Asking, Context
from toolkit.core.work import FLOAT_BYTES, Work
from toolkit.learning.flat import Layout
from toolkit.learning.sketch import CountSketch
from toolkit.methods.distributed import Method, Step
from toolkit.methods.distributed.gs_sgd import forget, forgetting
from toolkit.methods.distributed.sketched_sgd import gathered, told
from toolkit.methods.distributed.sparse import (
    PAIR_BYTES,
    Split,
    columns,
    count,
    exchange_whole,
    moving,
    new_sketch,
    pack,
    refuse_odd_sizes,
    refuse_servers,
    unpack,
)


@dataclass
class State:
    """The tables are the server's; those of a worker are empty."""

    split: Split
    sketch: CountSketch
    k: int
    error_table: Tensor
    momentum_table: Tensor
    velocity: Tensor


@final
class FetchSgd(Method):
    """Tables up, k pairs of value and index down; one server. ``(α+P·4rcβ) + (α+P·8kβ)``.

    V = m V + mean of the tables; E = E + V; Δ = the k largest estimates of E; w = w - lr Δ; then Δ leaves E.

    Source: Rothchild et al. 2020 (arXiv 2007.07682), and the public CommEfficient for `sketch_error`. The paper's tables are large
    (5 x 500,000 for 6.6 million parameters, k = 50,000): with the estimates as the update, the columns decide about convergence.

    Departure: the paper scales by the learning rate inside (E = E + lr V); here that is `lr_inside`, off as everywhere. The same for
    a constant rate.
    """

    needs_servers: ClassVar[bool] = True

    k: int | None = Field(None, ge=1, description="coordinates changed per step; without it the share `density`")
    density: float = Field(0.01, gt=0, le=1, description="share of the coordinates changed per step, where k is not given")
    rows: int = Field(5, ge=1, description="rows of the sketch (r); odd")
    cols: int | None = Field(None, ge=16, description="columns of the sketch (c), a multiple of 16; without it 10 k")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum factor, inside the server's sketch")
    masking: bool = Field(True, description="forget the momentum of the cells that an update touched")
    sketch_error: Literal["zero", "subtract"] = Field(
        "zero", description="empty every touched cell, or subtract the sketch of the update (as published; CommEfficient saw it diverge)"
    )
    lr_inside: bool = Field(False, description="the learning rate scales what is accumulated, not the update at the end")
    dense_below: int = Field(0, ge=0, description="tensors of fewer elements travel whole, through the server")

    @model_validator(mode="after")
    def _sane(self) -> Self:
        refuse_odd_sizes(self.rows, self.cols)
        return self

    def init(self, ctx: Context, layout: Layout) -> State:
        refuse_servers(ctx, self.type_name())
        split = Split.of(layout, self.dense_below)
        k = count(self.k, self.density, split.size)
        sketch = new_sketch(ctx, self.rows, self.cols, k, split.size)
        shape = (sketch.rows, sketch.cols) if ctx.is_server else (0, 0)
        error, momentum = (torch.zeros(shape, device=ctx.accelerator) for _ in range(2))
        velocity = torch.zeros(0 if ctx.is_server else split.small_size, device=ctx.accelerator)
        return State(split, sketch, k, error, momentum, velocity)

    def step(self, ctx: Context, state: State, weights: Tensor, gradient: Tensor, step: Step) -> Asking:
        yield from exchange_whole(ctx, state.split, state.velocity, self.momentum, weights, gradient, step, ParameterServer())
        sketch, server = state.sketch, ctx.size
        table = sketch.encode(state.split.compressed(gradient)).view(-1)
        yield ctx.compute(Work(*sketch.encode_work(state.split.size)), "compress")
        yield post(ctx, server, table, "sketch")
        values, picked = unpack((yield ctx.recv(server, state.error_table.new_empty(2 * state.k, dtype=torch.int32))))
        weights.index_add_(0, state.split.places(picked), values, alpha=-(1.0 if self.lr_inside else step.lr))
        yield ctx.compute(moving(state.k, 2, 4, 1), "compress")

    def serve(self, ctx: Context, state: State, layout: Layout, step: Step) -> Asking:
        if state.split.small:
            yield from ctx.all_reduce(state.error_table.new_empty(state.split.small_size), "dense", ParameterServer())
        sketch = state.sketch
        table = yield from gathered(ctx, state.error_table.new_empty(sketch.rows * sketch.cols), "sketch")
        state.momentum_table.mul_(self.momentum).add_(table.view(sketch.rows, sketch.cols), alpha=1 / ctx.size)
        state.error_table.add_(state.momentum_table, alpha=step.lr if self.lr_inside else 1.0)
        picked = sketch.top_k(state.error_table, state.k)
        update = sketch.estimate(state.error_table, picked)
        momentum = state.momentum_table if self.masking else None
        forget(sketch, state.error_table, momentum, picked, update, self.sketch_error)
        work = moving(table.numel(), 4, 4, 2) + Work(*sketch.top_k_work(state.split.size, state.k))
        yield ctx.compute(work + forgetting(sketch, state.k), "compress")
        yield from told(ctx, pack(update, picked), "update")

    def wire_bytes(self, layout: Layout) -> float:
        """What a worker sends up; `down_bytes` come down to it."""
        split = Split.of(layout, self.dense_below)
        return FLOAT_BYTES * (self.rows * columns(self.cols, count(self.k, self.density, split.size)) + split.small_size)

    def down_bytes(self, layout: Layout) -> float:
        """What the server sends down to each worker per step."""
        split = Split.of(layout, self.dense_below)
        return PAIR_BYTES * count(self.k, self.density, split.size) + FLOAT_BYTES * split.small_size
