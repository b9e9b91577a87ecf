"""A small problem on which the tests train methods without a network: every worker pulls the weights to a place of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from toolkit.collectives import Collectives
from toolkit.core.context import Asking, Context
from toolkit.core.local import LocalContext, run_local
from toolkit.learning.flat import FlatLayout
from toolkit.methods.distributed import ExchangeMethod, Step

LAYOUT = FlatLayout(((24, 18), (24,), (10, 24), (10,)))
SCHEDULES = ["binomial", "ring", "recursive_doubling", "rabenseifner"]

Gradient = Callable[[int, int, Tensor], Tensor]
"""(rank, step, weights) -> gradient."""


def noise(size: int, *name: int) -> Tensor:
    """Return standard normal numbers that depend on *name* alone."""
    seed = 0
    for word in name:
        seed = 1000 * seed + word + 1
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def pull(rank: int, step: int, weights: Tensor) -> Tensor:
    """Gradient of half the squared distance to the worker's own place, with noise; a few coordinates matter much more than others."""
    order = torch.randperm(len(weights), generator=torch.Generator().manual_seed(7))
    scale = (1.0 + order).rsqrt()
    return scale * (weights - noise(len(weights), rank)) + 0.01 * noise(len(weights), rank, step)


@dataclass
class Trained:
    weights: list[Tensor]
    """Of each worker."""
    states: list[Any]
    """Of each worker and server."""
    contexts: list[LocalContext]
    start: Tensor
    pulled: list[Tensor] = field(default_factory=list)
    """For each worker, the sum of its gradients times the learning rate (float64)."""

    @property
    def sent_bytes(self) -> int:
        return sum(context.sent_bytes for context in self.contexts)


def train(
    method: ExchangeMethod, workers: int, steps: int, *, lr: float = 0.1, schedule: str = "binomial", servers: int = 0, seed: int = 1,
    layout: FlatLayout = LAYOUT, gradient: Gradient = pull,
) -> Trained:
    start = noise(layout.size, 99)
    weights = [start.clone() for _ in range(workers)]
    pulled = [torch.zeros(layout.size, dtype=torch.float64) for _ in range(workers)]
    states: list[Any] = [None] * (workers + servers)

    def program(ctx: Context) -> Asking:
        state = states[ctx.rank] = method.init(ctx, layout)
        for index in range(steps):
            step = Step(index, lr)
            if ctx.is_server:
                yield from method.serve(ctx, state, layout, step)
                continue
            own = gradient(ctx.rank, index, weights[ctx.rank])
            pulled[ctx.rank] += lr * own.double()
            yield from method.step(ctx, state, weights[ctx.rank], own, step)

    collectives = Collectives.model_validate({"all_reduce": schedule, "all_gather": "doubling"})
    contexts = run_local(program, workers, seed, servers=servers, collectives=collectives)
    return Trained(weights, states, contexts, start, pulled)


def conserved(trained: Trained, lr: float = 1.0) -> float:
    """Largest relative error of: updates times P plus residuals (times *lr*) equal gradients times lr."""
    moved = (trained.start.double() - trained.weights[0].double()) * len(trained.weights)
    kept = sum(state.error.double() for state in trained.states[: len(trained.weights)]) * lr
    pulled = sum(trained.pulled)
    return float((moved + kept - pulled).abs().max() / pulled.abs().max())


def dense(
    workers: int, steps: int, *, lr: float = 0.1, momentum: float = 0.0, layout: FlatLayout = LAYOUT, gradient: Gradient = pull
) -> Tensor:
    """Return the weights after plain momentum SGD on the mean gradient."""
    weights = noise(layout.size, 99)
    velocity = torch.zeros(layout.size)
    for index in range(steps):
        mean = sum(gradient(rank, index, weights) for rank in range(workers)) / workers
        velocity = momentum * velocity + mean
        weights = weights - lr * velocity
    return weights
