"""Fading: what a link's level does around its mean.

`Shadowing` is slow, in dB, and the same both ways of a pair; `FastFading` is a power gain of mean 1, drawn anew per packet or per
coherence time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from toolkit.core.part import Spec

Floats = NDArray[np.float64]


@dataclass
class ShadowingState:
    """The shadowing of all pairs of nodes in one run; `step` moves it on in place."""

    n: int
    sigma_db: float
    correlation_s: float
    rng: np.random.Generator
    pairs_db: Floats | None = None
    """One value per pair in the order of `np.triu_indices(n, 1)`; None before the first step."""

    def step(self, dt_s: float) -> Floats:
        """Move on by *dt_s* and return the shadowing in dB, (n, n), symmetric with a zero diagonal; its law has no sign.

        The first call draws from the stationary law, whatever *dt_s*. Each call takes n(n - 1)/2 normals, whatever sigma and
        *dt_s*: the random numbers used depend on the count of steps alone, so that two runs with other settings stay paired.
        """
        if not dt_s >= 0:
            raise ValueError(f"a step of {dt_s} s; time does not run backwards")
        fresh = self.sigma_db * self.rng.standard_normal(self.n * (self.n - 1) // 2)
        if self.pairs_db is None:
            self.pairs_db = fresh
        else:
            lag = dt_s / self.correlation_s
            # sqrt(1 - rho^2), written so that a short step keeps its digits
            self.pairs_db = np.exp(-lag) * self.pairs_db + np.sqrt(-np.expm1(-2 * lag)) * fresh
        matrix = np.zeros((self.n, self.n))
        matrix[_upper(self.n)] = self.pairs_db
        return matrix + matrix.T


@dataclass
class PairShadowing:
    """The shadowing of those pairs of a large network that are in reach: the same law, forgotten by a pair that leaves it."""

    sigma_db: float
    correlation_s: float
    rng: np.random.Generator
    pairs: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    pairs_db: Floats = field(default_factory=lambda: np.zeros(0))

    def step(self, dt_s: float, pairs: NDArray[np.int64]) -> Floats:
        """Move on by *dt_s* and return the shadowing in dB of *pairs*, numbers in rising order; one normal is drawn for each."""
        fresh = self.sigma_db * self.rng.standard_normal(len(pairs))
        place = np.searchsorted(self.pairs, pairs)
        known = place < len(self.pairs)
        known[known] = self.pairs[place[known]] == pairs[known]
        lag = dt_s / self.correlation_s
        fresh[known] = np.exp(-lag) * self.pairs_db[place[known]] + np.sqrt(-np.expm1(-2 * lag)) * fresh[known]
        self.pairs, self.pairs_db = pairs, fresh
        return fresh


@cache
def _upper(n: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    rows, columns = np.triu_indices(n, 1)
    return rows, columns


@final
class Shadowing(Spec):
    """Log-normal shadowing with an exponentially decaying autocorrelation, independent between pairs.

    Per pair ``g' = rho g + sqrt(1 - rho^2) sigma z`` with ``rho = exp(-dt / correlation_s)``, a Gauss-Markov process that has
    the same law for any choice of steps.

    Source: Qarabaqi and Stojanovic (2013), IEEE J. Oceanic Eng. 38(4), for the log-normal law and the decay of measured
    large-scale losses. Departures: no correlation between neighbouring links; wind and tide, common to all, come from the
    environment.
    """

    sigma_db: float = Field(2.0, ge=0, description="standard deviation in dB (1-4 in the field)")
    correlation_s: float = Field(300.0, gt=0, description="lag in s at which the autocorrelation is 1/e (30-600 in the field)")

    def init(self, n: int, rng: np.random.Generator) -> ShadowingState:
        """Return the state for *n* nodes, which draws from *rng* at each step."""
        return ShadowingState(n, self.sigma_db, self.correlation_s, rng)

    def init_pairs(self, rng: np.random.Generator) -> PairShadowing:
        """Return the state for a network of which only pairs in reach are kept."""
        return PairShadowing(self.sigma_db, self.correlation_s, rng)


@final
class FastFading(Spec):
    """Small-scale fading as a power gain of mean 1: none, Rician with a steady path, or Rayleigh without one.

    Do not combine it with a modulation that has the same average built in (`bpsk_rayleigh`, `bpsk_rician`): the fading would be
    counted twice.
    """

    kind: Literal["none", "rician", "rayleigh"] = Field("none", description="law of a frame's power; rayleigh: no direct path")
    k_db: float = Field(6.0, ge=-30, le=60, description="Rician factor in dB, steady over scattered power (3-10 in the field)")

    def power_gains(self, rng: np.random.Generator, shape: int | tuple[int, ...]) -> Floats:
        """Draw power gains (linear, mean 1) of *shape*; `none` takes no random numbers."""
        if self.kind == "none":
            return np.ones(shape)
        if self.kind == "rayleigh":
            return np.asarray(rng.standard_exponential(shape))
        k = 10 ** (self.k_db / 10)
        # |sqrt(K) + x + iy|^2 / (K + 1) with x and y of variance 1/2 each
        x, y = rng.standard_normal((2, *np.atleast_1d(shape))) * np.sqrt(0.5)
        return np.asarray(((np.sqrt(k) + x) ** 2 + y**2) / (k + 1))
