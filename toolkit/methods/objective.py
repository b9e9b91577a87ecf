"""Objectives: what is learnt. From a worker and a step to a batch, from network and batch to a loss, from a network to its merits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from torch import Generator, Tensor, nn

from toolkit.core.context import Context

Targets = TypeVar("Targets")
"""What a loss compares outputs with: labels, boxes, noise."""


class Objective(ABC, Generic[Targets]):
    """One kind of learning over one set of data. `toolkit.methods.classification` is one; detection or diffusion would be others.

    A program that trains asks for nothing else, so it trains whatever has an objective.
    """

    @abstractmethod
    def build(self, generator: Generator) -> nn.Module:
        """Return a new network for these data, its first weights drawn from *generator*."""

    @abstractmethod
    def batch(self, ctx: Context, step: int, size: int) -> tuple[Tensor, Targets]:
        """Return inputs and targets of worker `ctx.rank`'s batch at *step*: a function of the seed, the step and the group alone."""

    @abstractmethod
    def loss(self, model: nn.Module, inputs: Tensor, targets: Targets) -> Tensor:
        """Return the mean loss of *model* over a batch, from which the gradient is taken."""

    @abstractmethod
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Return figures of merit on held-out data by the names under which they are recorded; *model* is left in eval mode."""
