"""Label skew: how much of which class a client has is drawn from a Dirichlet distribution."""

from __future__ import annotations

from typing import Literal, final

import numpy as np
from pydantic import Field

from toolkit.methods.federated.splits import Indices, Split


@final
class Dirichlet(Split):
    """Small concentrations give each client few classes, large ones approach `iid`.

    With unequal sizes every class is cut in proportions drawn over the clients (Yurochkin et al. 2019). With equal ones every client draws
    its mixture of classes and fills its share from them, then from whatever classes are left (Hsu, Qi and Brown 2019).
    """

    alpha: float = Field(0.5, gt=0, description="concentration")
    sizes: Literal["unequal", "equal"] = Field("unequal", description="whether clients have equally many samples")

    def owners(self, labels: Indices, clients: int, rng: np.random.Generator) -> Indices:
        owner = np.empty(len(labels), np.int64)
        if self.sizes == "unequal":
            for label in np.unique(labels):
                members = rng.permutation(np.flatnonzero(labels == label))
                ends = np.rint(np.cumsum(rng.dirichlet(np.full(clients, self.alpha))) * len(members)).astype(np.int64)
                ends[-1] = len(members)
                owner[members] = np.searchsorted(ends, np.arange(len(members)), side="right")
            return owner
        pools = [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
        taken = np.zeros(len(pools), np.int64)
        there = np.array([len(members) for members in pools])
        for client in range(clients):
            wanted = len(labels) // clients + (client < len(labels) % clients)
            counts = np.minimum(rng.multinomial(wanted, rng.dirichlet(np.full(len(pools), self.alpha))), there - taken)
            while counts.sum() < wanted:
                counts[int((there - taken - counts).argmax())] += 1
            for members, begin, count in zip(pools, taken, counts, strict=True):
                owner[members[begin : begin + count]] = client
            taken += counts
        return owner
