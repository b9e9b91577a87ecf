"""Samples dealt out at random, equally many to everybody or not."""

from __future__ import annotations

from typing import final

import numpy as np
from pydantic import Field

from toolkit.methods.federated.splits import Indices, Split


@final
class Iid(Split):
    """The samples are shuffled and cut: equal sizes differ by one at most, unequal ones are log-normal as in FedProx's data sets."""

    size_sigma: float = Field(0.0, ge=0, le=5, description="spread of the sizes: deviation of their logarithm; 0: all equal")

    def owners(self, labels: Indices, clients: int, rng: np.random.Generator) -> Indices:
        order = rng.permutation(len(labels))
        if self.size_sigma:
            weights = rng.lognormal(0.0, self.size_sigma, clients)
            sizes = 1 + rng.multinomial(len(labels) - clients, weights / weights.sum())
        else:
            sizes = np.full(clients, len(labels) // clients) + (np.arange(clients) < len(labels) % clients)
        owner = np.empty(len(labels), np.int64)
        owner[order] = np.repeat(np.arange(clients), sizes)
        return owner
