"""Sketched-SGD: sketches go to a server, which asks for the exact values of the coordinates that look large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from pydantic import Field
from torch import Tensor

from toolkit.collectives import post
from toolkit.collectives.all_reduce.parameter_server import ParameterServerAllReduce
from toolkit.core.context import Asking, Context
from toolkit.core.work import FLOAT_BYTES, Work
from toolkit.learning.flat import FlatLayout
from toolkit.learning.sketch import CountSketch
from toolkit.learning.sketch_sizes import candidates, columns
from toolkit.learning.top_k import top_k
from toolkit.methods.distributed import Step
from toolkit.methods.distributed.served_sketch import ServedSketch, gathered, told
from toolkit.methods.distributed.sparse import Split, charged, choosing, exchange_whole, moving, pack, unpack


@dataclass
class SketchedSgdState:
    """Of a worker; a server's vectors are empty."""

    split: Split
    sketch: CountSketch
    k: int
    candidates: int
    """p2 k, at most all coordinates."""
    error: Tensor
    momentum: Tensor
    velocity: Tensor


@final
class SketchedSgd(ServedSketch[SketchedSgdState]):
    """Tables up, p2 k indices down, p2 k exact values up, k pairs of value and index down; one server.

    ``(α+P·4rcβ) + 2(α+P·4p2kβ) + (α+P·8kβ)``: the server's link carries P messages each way.

    Source: Ivkin et al. 2019 (arXiv 1903.04488) and its public code: momentum on the workers with factor masking, p2 = 4.
    """

    p2: int = Field(4, ge=1, description="candidates per chosen coordinate whose exact values the server asks for")

    def init(self, ctx: Context, layout: FlatLayout) -> SketchedSgdState:
        split, sketch, k = self.open_sketch(ctx, layout)
        sizes = (0, 0, 0) if ctx.is_server else (split.size, split.size if self.momentum else 0, split.small_size)
        vectors = (torch.zeros(size, device=ctx.accelerator) for size in sizes)
        return SketchedSgdState(split, sketch, k, candidates(self.p2, k, split.size), *vectors)

    def step(self, ctx: Context, state: SketchedSgdState, weights: Tensor, gradient: Tensor, step: Step) -> Asking:
        yield from exchange_whole(
            ctx, state.split, velocity=state.velocity, momentum=self.momentum, weights=weights, gradient=gradient, step=step,
            schedule=ParameterServerAllReduce()
        )
        sketch, error, server = state.sketch, state.error, ctx.size
        u = state.split.compressed(gradient)
        if self.momentum:
            u = state.momentum.mul_(self.momentum).add_(u)
        error.add_(u, alpha=step.lr if self.lr_inside else 1.0)
        table = sketch.encode(error).view(-1)
        yield charged(ctx, moving(error.numel(), 4, 4, 2, 3) + Work(*sketch.encode_work(error.numel())))
        yield post(ctx, server, table, "sketch")

        asked = (yield ctx.recv(server, error.new_empty(state.candidates, dtype=torch.int32))).to(torch.int64)
        yield post(ctx, server, error[asked], "values")
        values, picked = unpack((yield ctx.recv(server, error.new_empty(2 * state.k, dtype=torch.int32))))

        rate = (1.0 if self.lr_inside else step.lr) / ctx.size
        weights.index_add_(0, state.split.places(picked), values, alpha=-rate)
        error[picked] = 0
        if self.masking and self.momentum:
            state.momentum[picked] = 0
        yield charged(ctx, moving(asked.numel(), 0, 3, 1, 2) + moving(state.k, 2, 4, 3, 5))

    def serve(self, ctx: Context, state: SketchedSgdState, layout: FlatLayout, step: Step) -> Asking:
        if state.split.small:
            yield from ctx.all_reduce(state.error.new_empty(state.split.small_size), "dense", ParameterServerAllReduce())
        sketch = state.sketch
        table = yield from gathered(ctx, state.error.new_empty(sketch.rows * sketch.cols), "sketch")
        asked = sketch.top_k(table.view(sketch.rows, sketch.cols), state.candidates)
        yield charged(ctx, Work(*sketch.top_k_work(state.split.size, state.candidates)))
        yield from told(ctx, asked.to(torch.int32), "indices")
        values = yield from gathered(ctx, state.error.new_empty(state.candidates), "values")
        best = top_k(values, state.k)
        yield charged(ctx, choosing(state.candidates, state.k))
        yield from told(ctx, pack(values[best], asked[best]), "update")

    def wire_bytes(self, layout: FlatLayout) -> float:
        """What a worker sends up; `down_bytes` come down to it."""
        split, k, asked = self._sizes(layout)
        return FLOAT_BYTES * (self.rows * columns(self.cols, k) + asked + split.small_size)

    def down_bytes(self, layout: FlatLayout) -> float:
        """What the server sends down to each worker per step."""
        split, k, asked = self._sizes(layout)
        return FLOAT_BYTES * (asked + 2 * k + split.small_size)

    def _sizes(self, layout: FlatLayout) -> tuple[Split, int, int]:
        split, k = self.split_of(layout)
        return split, k, candidates(self.p2, k, split.size)
