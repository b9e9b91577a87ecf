"""Shards: the samples in the order of their labels, cut into pieces, some pieces for each client."""

from __future__ import annotations

from typing import final

import numpy as np
from pydantic import Field

from toolkit.methods.federated.splits import Indices, Split


@final
class Shards(Split):
    """Each client gets `per_client` pieces at random, and so about as many classes.

    Source: McMahan et al. 2017, section 3, with two pieces for each of a hundred clients.
    """

    per_client: int = Field(2, ge=1, le=1000, description="pieces for each client")

    def owners(self, labels: Indices, clients: int, rng: np.random.Generator) -> Indices:
        mixed = rng.permutation(len(labels))
        order = mixed[np.argsort(labels[mixed], kind="stable")]
        pieces = clients * self.per_client
        place = rng.permutation(pieces)
        owner = np.empty(len(labels), np.int64)
        owner[order] = place[np.arange(len(labels)) * pieces // len(labels)] // self.per_client
        return owner
