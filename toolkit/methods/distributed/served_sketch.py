"""What the two sketched methods with a server share: their settings, and a server's part in gathering and telling."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from toolkit.collectives import adding, post
from toolkit.core.context import Asking, Context
from toolkit.learning.flat import FlatLayout
from toolkit.learning.sketch import CountSketch
from toolkit.learning.sketch_sizes import check_table
from toolkit.methods.distributed import ExchangeMethod, State
from toolkit.methods.distributed.sparse import Split, count, new_sketch, refuse_servers


class ServedSketch(ExchangeMethod[State]):
    """Workers send tables to one server, which says what to change. `toolkit.methods.distributed.sketched_sgd` and `fetch_sgd` are two."""

    needs_servers: ClassVar[bool] = True

    k: int | None = Field(None, ge=1, description="coordinates changed per step; without it the share `density`")
    density: float = Field(0.01, gt=0, le=1, description="share of the coordinates changed per step, where k is not given")
    rows: int = Field(5, ge=1, description="rows of the sketch (r); odd")
    cols: int | None = Field(None, ge=16, description="columns of the sketch (c), a multiple of 16; without it 10 k")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum factor")
    masking: bool = Field(True, description="forget the momentum of what was just changed")
    lr_inside: bool = Field(False, description="the learning rate scales what is accumulated, not the update at the end")
    dense_below: int = Field(0, ge=0, description="tensors of fewer elements travel whole, through the server")

    @model_validator(mode="after")
    def _sane(self) -> Self:
        check_table(self.rows, self.cols)
        return self

    def open_sketch(self, ctx: Context, layout: FlatLayout) -> tuple[Split, CountSketch, int]:
        """Return what is compressed, the sketch that all share, and k."""
        refuse_servers(ctx, self.type_name())
        split, k = self.split_of(layout)
        return split, new_sketch(ctx, self.rows, self.cols, k, split.size), k

    def split_of(self, layout: FlatLayout) -> tuple[Split, int]:
        """Return what is compressed, and k."""
        split = Split.of(layout, self.dense_below)
        return split, count(self.k, self.density, split.size)


def gathered(ctx: Context, like: Tensor, phase: str) -> Asking:
    """A server's part: the sum of one vector of every worker, in the order of ranks."""
    total = torch.zeros_like(like)
    for coming in [ctx.recv(worker, like) for worker in range(ctx.size)]:
        total = total + (yield coming)
    yield ctx.compute(adding(total).times(ctx.size), phase)
    return total


def told(ctx: Context, message: Tensor, phase: str) -> Asking:
    """A server's part: the same *message* to every worker."""
    sent = [post(ctx, worker, message, phase) for worker in range(ctx.size)]
    for telling in sent:  # noqa: UP028 - each answer goes back to whoever runs the program, and a list takes none
        yield telling
