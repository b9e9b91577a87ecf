"""The search itself: generations or one child at a time, by weighted sum or by fronts.

Each mask is evaluated once, however often it comes up (a memo by its bytes). Parents are picked by binary tournament, crossed, mutated and
repaired; of parents and children together the best N stay (mu + lambda), no two alike.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from toolkit.learning.genetic.fitness import Fitness
from toolkit.learning.genetic.genome import Floats, Genome, Mask
from toolkit.learning.genetic.operators import Preferences, cross_bits, cross_layers, first_population, mutate, tournament
from toolkit.learning.genetic.pareto import crowding, front, hypervolume, ranks

TRIES = 20
"""How often a child that is known already is mutated again before it is given up."""
REFERENCE = np.ones(3)
"""Reference point of the hypervolume: always wrong, nothing removed."""


@dataclass
class State:
    """All that changes during a search."""

    genome: Genome
    saliency: Floats
    fitness: Fitness
    preferences: Preferences
    rng: np.random.Generator
    masks: Mask
    """The population (n, bits), best first."""
    objectives: Floats
    """(n, 3)"""
    memo: dict[bytes, tuple[float, float, float]] = field(default_factory=dict)
    """Objectives of all that was evaluated; an infinite error for what was rejected early."""
    waiting: deque[Mask] = field(default_factory=deque)
    """First population that a search by single children has not given out yet."""
    given_out: set[bytes] = field(default_factory=set)
    generation: int = 0
    stale: int = 0
    """Generations since the best last got better."""
    history: list[float] = field(default_factory=list)
    """Best F after each generation (or, child by child, after each insertion)."""
    family: Mask = field(default_factory=lambda: np.zeros((0, 0), bool))
    """The present generation's children, known ones among them."""

    @property
    def evaluations(self) -> int:
        return len(self.memo)

    def evaluated(self) -> tuple[Mask, Floats]:
        """Return all masks that were evaluated to the end, and their objectives."""
        kept = [(key, values) for key, values in self.memo.items() if np.isfinite(values[0])]
        masks = np.array([self.genome.unpack(key) for key, _ in kept], bool).reshape(len(kept), self.genome.bits)
        return masks, np.array([values for _, values in kept], np.float64).reshape(len(kept), 3)

    def front(self) -> tuple[Mask, Floats]:
        """Return the masks, of all evaluated, that none dominates."""
        masks, objectives = self.evaluated()
        best = front(objectives)
        return masks[best], objectives[best]

    def hypervolume(self) -> float:
        """Return the volume dominated by all that was evaluated, up to (1, 1, 1)."""
        return hypervolume(self.evaluated()[1], REFERENCE)

    def threshold(self) -> float:
        """Return the F that a child must stay below to be among the survivors; infinite while there are none."""
        return float(self.fitness.order(self.objectives)[-1]) if len(self.objectives) else float("inf")


@dataclass(frozen=True)
class Genetic:
    """Settings of a search."""

    population: int = 30
    generations: int = 40
    evaluations: int | None = None
    """Most masks that are evaluated."""
    patience: int | None = 15
    """Generations without progress after which it stops (g_0)."""
    initial_rate: float = 0.1
    """p_0"""
    mutation_rate: float = 0.02
    """p_m"""
    crossover: Literal["layers", "bits", "both"] = "layers"
    heuristic: bool = True
    """Whether mutation knows the saliency; without it every bit is alike."""
    selection: Literal["weighted", "nsga2"] = "weighted"

    def init(self, genome: Genome, saliency: Floats, fitness: Fitness, rng: np.random.Generator) -> State:
        """Return the state before anything is evaluated; *saliency* (bits,) has mean 1 per layer."""
        preferences = Preferences.heuristic(genome, saliency) if self.heuristic else Preferences.indifferent(genome)
        empty = np.zeros((0, genome.bits), bool)
        return State(genome, saliency, fitness, preferences=preferences, rng=rng, masks=empty, objectives=np.zeros((0, 3)))

    def ask(self, state: State) -> Mask:
        """Return the masks of the next generation that have to be evaluated (n, bits); none when the search is over."""
        while not self.over(state):
            state.family = self._first(state) if not state.generation and not len(state.masks) else self._children(state)
            unknown = self._unknown(state, state.family)
            if len(unknown):
                return unknown
            self._close(state)
        return np.zeros((0, state.genome.bits), bool)

    def tell(self, state: State, masks: Mask, objectives: Floats) -> None:
        """Take the objectives (n, 3) of what `ask` returned, in any order, and choose the survivors."""
        for mask, values in zip(masks, objectives, strict=True):
            state.memo[state.genome.pack(mask)] = (float(values[0]), float(values[1]), float(values[2]))
        self._close(state)

    def over(self, state: State) -> bool:
        """Whether generations, evaluations or patience are used up."""
        spent = self.evaluations is not None and state.evaluations >= self.evaluations
        tired = self.patience is not None and state.stale >= self.patience
        return state.generation > self.generations or spent or tired

    def spawn(self, state: State) -> Mask:
        """Return one new mask for whoever is idle, (bits,); what others still evaluate is not waited for."""
        if not state.given_out:
            state.waiting.extend(self._first(state))
        while state.waiting:
            mask = state.waiting.popleft()
            key = state.genome.pack(mask)
            if key not in state.given_out:
                state.given_out.add(key)
                return mask
        child = self._fresh_child(state)
        state.given_out.add(state.genome.pack(child))
        return child

    def insert(self, state: State, mask: Mask, objectives: Floats) -> None:
        """Take one evaluated mask into the population; the worst goes if there are too many (mu + 1)."""
        state.memo[state.genome.pack(mask)] = (float(objectives[0]), float(objectives[1]), float(objectives[2]))
        self._survive(state, np.concatenate([state.masks, mask[None]]), np.concatenate([state.objectives, objectives[None]]))
        state.history.append(float(state.fitness.order(state.objectives).min()))

    def best(self, state: State) -> tuple[Mask, Floats]:
        """Return the mask of least F (within the bound, if there is one) and its objectives."""
        place = int(np.argmin(state.fitness.order(state.objectives)))
        return state.masks[place], state.objectives[place]

    def _first(self, state: State) -> Mask:
        masks = first_population(self.population, state.genome, self.initial_rate, state.preferences, state.rng)
        return state.genome.repair(masks, state.saliency)

    def _children(self, state: State) -> Mask:
        """As many children as parents, none known and no two alike where that can be had."""
        children = self._offspring(state, self.population)
        seen: set[bytes] = set()
        for place in range(len(children)):
            child = children[place]
            for _ in range(TRIES):
                key = state.genome.pack(child)
                if key not in state.memo and key not in seen:
                    break
                child = state.genome.repair(mutate(child[None], self.mutation_rate, state.preferences, state.rng), state.saliency)[0]
            children[place] = child
            seen.add(state.genome.pack(child))
        return children

    def _fresh_child(self, state: State) -> Mask:
        child: Mask = self._offspring(state, 1)[0]
        for _ in range(TRIES):
            if state.genome.pack(child) not in state.given_out:
                break
            child = self._offspring(state, 1)[0]
        return child

    def _offspring(self, state: State, count: int) -> Mask:
        if not len(state.masks):  # nobody has answered yet
            return self._first(state)[-count:]
        order = self._order(state.objectives, state.fitness)
        mothers, fathers = (state.masks[tournament(order, count, state.rng)] for _ in range(2))
        if self.crossover == "bits":
            crossed = cross_bits(mothers, fathers, state.rng)
        else:
            crossed = cross_layers(mothers, fathers, state.genome, state.rng)
        if self.crossover == "both":
            crossed = np.where(state.rng.random((count, 1)) < 0.5, crossed, cross_bits(mothers, fathers, state.rng)).astype(bool)
        return state.genome.repair(mutate(crossed, self.mutation_rate, state.preferences, state.rng), state.saliency)

    def _unknown(self, state: State, family: Mask) -> Mask:
        fresh: dict[bytes, Mask] = {}
        for mask in family:
            key = state.genome.pack(mask)
            if key not in state.memo:
                fresh.setdefault(key, mask)
        masks = list(fresh.values())
        if self.evaluations is not None:
            masks = masks[: self.evaluations - state.evaluations]
        return np.array(masks, bool).reshape(len(masks), state.genome.bits)

    def _close(self, state: State) -> None:
        """Let the present generation's children compete with their parents."""
        known = [mask for mask in state.family if state.genome.pack(mask) in state.memo]
        values = [state.memo[state.genome.pack(mask)] for mask in known]
        masks = np.concatenate([state.masks, np.array(known, bool).reshape(len(known), state.genome.bits)])
        objectives = np.concatenate([state.objectives, np.array(values, np.float64).reshape(len(values), 3)])
        before = state.history[-1] if state.history else float("inf")
        self._survive(state, masks, objectives)
        now = float(state.fitness.order(state.objectives).min())
        state.stale = 0 if now < before else state.stale + 1
        state.history.append(now)
        state.generation += 1

    def _survive(self, state: State, masks: Mask, objectives: Floats) -> None:
        unique: dict[bytes, int] = {}
        for place, mask in enumerate(masks):
            if np.isfinite(objectives[place, 0]):
                unique.setdefault(state.genome.pack(mask), place)
        chosen = np.array(list(unique.values()), np.int64)
        order = self._order(objectives[chosen], state.fitness)
        chosen = chosen[np.argsort(order, kind="stable")[: self.population]]
        state.masks, state.objectives = masks[chosen], objectives[chosen]

    def _order(self, objectives: Floats, fitness: Fitness) -> Floats:
        """Return one number per mask, lower for the better: F, or the front and within it the crowding."""
        if self.selection == "weighted":
            return fitness.order(objectives)
        over = fitness.violation(objectives)
        rank = ranks(np.where(over[:, None] > 0, 10.0 + over[:, None], objectives))
        place: NDArray[np.float64] = np.zeros(len(objectives))
        for level in np.unique(rank):
            members = np.flatnonzero(rank == level)
            far = crowding(objectives[members])
            place[members] = level + (1 - np.argsort(np.argsort(far, kind="stable"), kind="stable") / len(members)) * 0.5
        return place
