"""Where new masks come from: a first population, mutation that knows what units are worth, and two ways of crossing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from toolkit.learning.genetic.genome import Floats, Genome, Mask

RESTORE = 0.25
"""A cleared bit comes back with this share of the mutation rate, times its own preference."""


@dataclass(frozen=True, eq=False)
class Preferences:
    """How readily each bit is cleared and given back; both have mean 1 within every layer."""

    clear: Floats
    restore: Floats

    @classmethod
    def heuristic(cls, genome: Genome, saliency: Floats) -> Self:
        """Clear what matters little: q_i in proportion to 1 / (1 + s_i), with the saliency s of mean 1 per layer; restore the other way."""
        return cls(genome.mean_one(1 / (1 + saliency)), genome.mean_one(1 + saliency))

    @classmethod
    def indifferent(cls, genome: Genome) -> Self:
        """The control: every bit alike."""
        return cls(np.ones(genome.bits), np.ones(genome.bits))


def first_population(count: int, genome: Genome, rate: float, preferences: Preferences, rng: np.random.Generator) -> Mask:
    """Return the mask that keeps all, and ``count - 1`` copies whose bits are cleared with probability ``r_k q_i``.

    The rates ``r_k`` of the copies are spread evenly between 0 and twice *rate*, so that there are nearly whole and rather bare ones.
    """
    rates = 2 * rate * np.arange(count) / max(1, count - 1)
    masks: Mask = rng.random((count, genome.bits)) >= rates[:, None] * preferences.clear
    masks[0] = True
    return masks


def mutate(masks: Mask, rate: float, preferences: Preferences, rng: np.random.Generator) -> Mask:
    """Return mutated copies: a kept bit is cleared with probability ``rate q_i``, a cleared one restored with ``rate r_i / 4``."""
    odds = np.where(masks, rate * preferences.clear, RESTORE * rate * preferences.restore)
    mutated: Mask = masks ^ (rng.random(masks.shape) < odds)
    return mutated


def cross_layers(mothers: Mask, fathers: Mask, genome: Genome, rng: np.random.Generator) -> Mask:
    """Return children that take each layer's mask whole from one parent, so that filters which work together stay together."""
    takes = rng.random((len(mothers), len(genome.sizes))) < 0.5
    chosen: Mask = np.where(np.repeat(takes, genome.sizes, axis=1), mothers, fathers)
    return chosen


def cross_bits(mothers: Mask, fathers: Mask, rng: np.random.Generator) -> Mask:
    """Return children that take every bit from either parent."""
    chosen: Mask = np.where(rng.random(mothers.shape) < 0.5, mothers, fathers)
    return chosen


def tournament(order: Floats, count: int, rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return *count* winners of binary tournaments; *order* (N,) is lower for the better."""
    pairs = rng.integers(len(order), size=(count, 2))
    winners: np.ndarray[tuple[int], np.dtype[np.int64]] = np.where(order[pairs[:, 0]] <= order[pairs[:, 1]], pairs[:, 0], pairs[:, 1])
    return winners
