"""A method's next step worked out by hand: the learner before it, and a copy that draws what the learner will draw."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tests.methods.continual.driver import make, opening
from toolkit.learning.flat import gradient_of, weights
from toolkit.methods.continual import Batch
from toolkit.methods.continual.learner import Learner

SIZE = 16


def batch_of(found: Learner, begin: int = 0, size: int = SIZE, task: int | None = None) -> Batch:
    samples = found.stream.train(found.task if task is None else task)
    chosen = torch.arange(begin, begin + size)
    return Batch(samples.images[chosen], samples.labels[chosen], chosen)


def begun(name: str, steps: int = 0, **settings: Any) -> tuple[Any, Learner, Any]:
    """A method, its learner and its state, *steps* steps into the first task."""
    method = make(name, **settings)
    found, state = opening(method)
    method.begin_task(found, state)
    method.begin_epoch(found, state)
    for step in range(steps):
        method.step(found, state, batch_of(found, SIZE * step))
    return method, found, state


def to_the_second_task(method: Any, found: Learner, state: Any) -> None:
    method.end_task(found, state)
    found.task = 1
    method.begin_task(found, state)
    method.begin_epoch(found, state)


class Twin:
    """A copy of a learner that draws what the learner will draw, to work out its next step by hand."""

    def __init__(self, found: Learner) -> None:
        self.net = copy.deepcopy(found.net)
        self.learner = copy.copy(found)
        self.learner.net = self.net
        self.learner.parameters = [weight for weight in self.net.parameters() if weight.requires_grad]
        self.learner.generators = {
            name: torch.Generator().manual_seed(0) for name in found.generators
        }
        for name, generator in found.generators.items():
            self.learner.generators[name].set_state(generator.get_state())
        if found.buffer is not None:
            self.learner.buffer = copy.copy(found.buffer)
            self.learner.buffer.generator = self.learner.generators["buffer"]

    def images(self, batch: Batch) -> Tensor:
        return self.learner.clean(batch.images)

    def stepped(self, loss: Tensor) -> Tensor:
        """The weights after one step on *loss*."""
        return weights(self.learner.parameters) - self.learner.lr * gradient_of(loss, self.learner.parameters)


def check_step(
    name: str, loss_by_hand: Callable[[Twin, Batch, Any], Tensor], *, second: bool = False, steps: int = 2, **settings: Any
) -> None:
    """A step has the loss worked out by hand, and moves the weights against its gradient."""
    method, found, state = begun(name, steps, **settings)
    if second:
        to_the_second_task(method, found, state)
    batch = batch_of(found, SIZE * steps)
    twin = Twin(found)
    by_hand = loss_by_hand(twin, batch, state)
    expected = twin.stepped(by_hand)
    loss = method.step(found, state, batch)
    torch.testing.assert_close(loss, by_hand.detach())
    torch.testing.assert_close(weights(found.parameters), expected, atol=1e-6, rtol=1e-5)
