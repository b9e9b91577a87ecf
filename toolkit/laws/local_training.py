"""Small training runs over local contexts, by which methods of exchanging gradients are held against their laws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from toolkit.collectives import AllReduce, Collectives
from toolkit.core.local import LocalContext, run_local
from toolkit.learning.flat import FlatLayout
from toolkit.methods.distributed import ExchangeMethod, Step

LAYOUT = FlatLayout(((20, 30), (30,), (5, 5, 4, 4), (8,)))
MATRICES = FlatLayout(((20, 30), (25, 16)))
SCHEDULES = sorted(name for name in AllReduce.members() if name != "parameter_server")
"""A server's schedule is for methods with servers, and they ask for it themselves."""


@dataclass
class Run:
    """What a training run left behind."""

    contexts: list[LocalContext]
    begin: Tensor
    weights: list[Tensor]
    states: list[Any]
    """Of the workers, then of the servers."""
    gradients: Tensor
    """Sum over workers and steps (float64)."""
    loss: Callable[[Tensor], float]
    path: list[Tensor] = field(default_factory=list)
    """Weights of rank 0 after each step."""


def train(
    method: ExchangeMethod, size: int, steps: int, *, layout: FlatLayout = LAYOUT, lr: float | Callable[[int], float] = 0.1,
    schedule: str = "binomial", gather: str = "doubling", seed: int = 7, interrupt: tuple[int, Callable[[Any], Any]] | None = None,
    fresh: bool = False, task: str = "noise", gradient: Callable[[int, int, Tensor], Tensor] | None = None, begin: Tensor | None = None,
) -> Run:
    """Train *size* workers for *steps* steps and return what became of them.

    ``noise`` gives each worker and step a random gradient that does not depend on the weights; ``quadratic`` a noisy one of
    ``mean_p |w - c_p|^2 / 2``. With *interrupt* the states are passed through a function before that step; with *fresh*
    every gradient lies in memory of its own, instead of where the last one was.
    """
    generator = torch.Generator().manual_seed(seed)
    begin = torch.randn(layout.size, generator=generator) if begin is None else begin
    centre = torch.randn(layout.size, generator=generator)
    own = [0.1 * torch.randn(layout.size, generator=generator) for _ in range(size)]
    middle = centre + torch.stack(own).mean(0)

    def drawn(rank: int, index: int, weights: Tensor) -> Tensor:
        noise = torch.randn(layout.size, generator=torch.Generator().manual_seed(1000 * index + rank))
        return noise if task == "noise" else weights - centre - own[rank] + 0.05 * noise

    take = gradient or drawn
    run = Run([], begin, [begin] * size, [None] * (size + 1), torch.zeros(layout.size, dtype=torch.float64),
              lambda weights: float((weights - middle).square().mean()))

    def program(ctx: Any) -> Any:
        state = method.init(ctx, layout)
        weights = begin.clone()
        buffer = torch.empty(layout.size)
        for index in range(steps):
            if interrupt and index == interrupt[0]:
                state, weights = interrupt[1]((state, weights))
            step = Step(index, lr(index) if callable(lr) else lr)
            if ctx.is_server:
                yield from method.serve(ctx, state, layout, step)
                continue
            buffer = torch.empty(layout.size) if fresh else buffer
            buffer.copy_(take(ctx.rank, index, weights))
            run.gradients.add_(buffer)
            yield from method.step(ctx, state, weights, buffer, step)
            if ctx.rank == 0:
                run.path.append(weights.clone())
        if not ctx.is_server:
            run.weights[ctx.rank] = weights
        run.states[ctx.rank] = state

    collectives = Collectives.model_validate({"all_reduce": schedule, "all_gather": gather})
    run.contexts = run_local(program, size, seed, servers=int(method.needs_servers), collectives=collectives)
    return run
