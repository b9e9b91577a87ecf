"""The genetic algorithm, by weighted sum or by fronts (NSGA-II)."""

from __future__ import annotations

from typing import ClassVar, Literal, final

import numpy as np
from pydantic import Field

from toolkit.learning.genetic.genome import Floats, Mask
from toolkit.learning.genetic.search import Genetic, State
from toolkit.methods.pruning import Found, Pruner
from toolkit.methods.pruning.problem import Problem


class GeneticChooser:
    """A genetic search in progress."""

    def __init__(self, search: Genetic, problem: Problem, rng: np.random.Generator) -> None:
        self.search = search
        self.state: State = search.init(problem.genome, problem.saliency, problem.fitness, rng)

    def ask(self) -> Mask:
        return self.search.ask(self.state)

    def tell(self, masks: Mask, objectives: Floats) -> None:
        self.search.tell(self.state, masks, objectives)

    def best(self) -> Mask:
        return self.search.best(self.state)[0]

    def threshold(self) -> float:
        return self.state.threshold() if self.search.selection == "weighted" and self.state.fitness.bound is None else float("inf")

    def found(self) -> Found:
        return Found(self.state.evaluations, self.state.evaluated()[1], self.state.history)

    def spawn(self) -> Mask:
        return self.search.spawn(self.state)

    def insert(self, mask: Mask, objectives: Floats) -> None:
        self.search.insert(self.state, mask, objectives)


@final
class GeneticPruner(Pruner):
    """Step 1 of the two-step framework: a genetic search over masks with the weights as they are.

    Source: arXiv 1906.00399 for the idea; its settings are not known to us, all defaults are ours. With ``selection: nsga2`` the whole
    front is searched, and the member of least weighted sum is taken on.
    """

    steady: ClassVar[bool] = True

    population: int = Field(30, ge=2, description="masks in the population (N)")
    generations: int = Field(1000, ge=1, description="most generations; the program's `evaluations` usually end a search before")
    patience: int | None = Field(15, ge=1, description="generations without progress after which it stops (g0); none: never")
    initial_rate: float = Field(0.1, ge=0, le=1, description="mean share of bits cleared in the first population (p0)")
    mutation_rate: float = Field(0.02, ge=0, le=1, description="chance of a bit to be cleared (pm); a quarter of it to come back")
    mutation: Literal["heuristic", "random"] = Field("heuristic", description="whether mutation spares what is salient")
    crossover: Literal["layers", "bits", "both"] = Field("layers", description="whole layers from one parent, or every bit from either")
    selection: Literal["weighted", "nsga2"] = Field("weighted", description="by the weighted sum, or by fronts and crowding")

    def start(self, problem: Problem, rng: np.random.Generator) -> GeneticChooser:
        search = Genetic(
            population=self.population, generations=self.generations, evaluations=problem.evaluations, patience=self.patience,
            initial_rate=self.initial_rate, mutation_rate=self.mutation_rate, crossover=self.crossover,
            heuristic=self.mutation == "heuristic", selection=self.selection,
        )
        return GeneticChooser(search, problem, rng)
