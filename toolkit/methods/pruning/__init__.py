"""Pruning as processes: methods that choose masks (this family), the two-step framework round them, and the program on a cluster.

A method is asked for masks and told their objectives (`Chooser`), so one loop serves them all: a genetic algorithm asks for generations, a
greedy one for the masks on its path, a rule for a single mask. What is not told by masks of units (single weights) overrides `compress`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

import numpy as np

from toolkit.core.part import Part
from toolkit.learning.genetic.genome import Floats, Mask

if TYPE_CHECKING:
    from torch import Tensor

    from toolkit.methods.pruning.problem import Problem


class Found(NamedTuple):
    """What a search has found so far."""

    evaluations: int
    objectives: Floats
    """(n, 3): error, computation left, parameters left of every mask that was evaluated to the end."""
    history: Sequence[float] = ()
    """The best F after each generation, of searches that have any."""


class Chooser(Protocol):
    """A search in progress."""

    def ask(self) -> Mask:
        """Return the masks to be evaluated next (n, units); none when it is over."""
        ...

    def tell(self, masks: Mask, objectives: Floats) -> None:
        """Take their objectives (n, 3): error, computation left, parameters left."""
        ...

    def best(self) -> Mask:
        """Return the chosen mask."""
        ...

    def threshold(self) -> float:
        """Return the F above which a mask is of no use; infinite where all are."""
        ...

    def found(self) -> Found:
        """Return what was found so far; a rule that looks for nothing found nothing."""
        ...


class SteadyChooser(Chooser, Protocol):
    """A search that can give out one mask at a time."""

    def spawn(self) -> Mask: ...
    def insert(self, mask: Mask, objectives: Floats) -> None: ...


class Pruner(Part):
    """A way of choosing what goes."""

    family: ClassVar[str] = "pruner"
    modules: ClassVar[tuple[str, ...]] = ("toolkit.methods.pruning.{}",)
    steady: ClassVar[bool] = False
    """Whether its choosers are `SteadyChooser`."""
    units: ClassVar[bool] = True
    """Whether it removes filters and hidden units; else single weights."""

    @abstractmethod
    def start(self, problem: Problem, rng: np.random.Generator) -> Chooser:
        """Begin to choose a mask for *problem*."""

    def gamma_l1(self) -> float:
        """Return the penalty on the scales of BatchNorm with which the dense network is trained."""
        return 0.0

    def weight_masks(self, problem: Problem, share: float) -> dict[str, Tensor]:
        """Return what single weights stay, by name, where this method removes those."""
        raise NotImplementedError(f"{self.type_name()} removes filters and units, not single weights")


class OneMask:
    """A rule's mask, which is evaluated once."""

    def __init__(self, mask: Mask) -> None:
        self.mask = mask
        self.told = False

    def ask(self) -> Mask:
        return self.mask[None] if not self.told else np.zeros((0, len(self.mask)), bool)

    def tell(self, masks: Mask, objectives: Floats) -> None:
        self.told = True

    def best(self) -> Mask:
        return self.mask

    def threshold(self) -> float:
        return float("inf")

    def found(self) -> Found:
        return Found(0, np.zeros((0, 3)))


class Best:
    """Remembers the best of all masks told, by F."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.mask = problem.groups.dense()
        self.order = float("inf")
        self._told: list[Floats] = []

    def tell(self, masks: Mask, objectives: Floats) -> None:
        self._told.extend(objectives)
        for mask, order in zip(masks, self.problem.fitness.order(objectives), strict=True):
            if order < self.order:
                self.mask, self.order = mask, float(order)

    def best(self) -> Mask:
        return self.mask

    def threshold(self) -> float:
        return float("inf")

    def found(self) -> Found:
        return Found(len(self._told), np.array(self._told).reshape(-1, 3))
