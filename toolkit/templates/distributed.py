"""Mine: a way of exchanging gradients to begin with. Workers send theirs in half precision, and everybody takes the mean.

    toolkit check ./mine.py
    toolkit simulate SCENARIO.yaml --set program.method=mine        with this file beside the scenario
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from pydantic import Field
from torch import Tensor

from toolkit.core.context import Asking, Context
from toolkit.core.work import Work
from toolkit.learning.flat import FlatLayout
from toolkit.methods.distributed import ExchangeMethod, Step


@dataclass
class MineState:
    """What a worker keeps between steps: plain values and tensors, so that a run can go on from it."""

    velocity: Tensor
    """Momentum (d,), the same on every worker; empty without."""


@final
class Mine(ExchangeMethod[MineState]):
    """Momentum SGD on the mean of gradients in half precision, by all-gather: ``2 d`` bytes from each worker.

    Settings are fields like these, with bounds and a description. What a step computes is charged by `ctx.compute`, what it sends by
    the collective.
    """

    momentum: float = Field(0.9, ge=0, lt=1, description="momentum factor")

    def init(self, ctx: Context, layout: FlatLayout) -> MineState:
        """Return one worker's state, for weights of this layout."""
        return MineState(torch.zeros(layout.size if self.momentum else 0))

    def step(self, ctx: Context, state: MineState, weights: Tensor, gradient: Tensor, step: Step) -> Asking:
        """Exchange *gradient* (d,) and change *weights* (d,) in place, on all workers to the same bits."""
        size = gradient.numel()
        yield ctx.compute(Work(flops=size, read_bytes=4 * size, write_bytes=2 * size), "compress")
        everybodys = yield from ctx.all_gather(gradient.to(torch.float16))
        mean = torch.zeros(size)
        for one in everybodys:  # in the order of the ranks, so that sums are rounded alike everywhere
            mean.add_(one.to(torch.float32), alpha=1 / ctx.size)
        if self.momentum:
            mean = state.velocity.mul_(self.momentum).add_(mean)
        weights.add_(mean, alpha=-step.lr)
        passes = ctx.size + 2
        yield ctx.compute(Work(flops=2 * passes * size, read_bytes=6 * passes * size, write_bytes=4 * passes * size), "compress")

    def wire_bytes(self, layout: FlatLayout) -> float:
        """Bytes that one worker hands over per step."""
        return 2.0 * layout.size
