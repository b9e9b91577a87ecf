"""Splits: which client holds which samples."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from toolkit.core.part import Part

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Deal:
    """Samples dealt to clients, each to exactly one."""

    samples: Indices
    """All samples, client after client, each client's sorted."""
    begins: Indices
    """Where each client's begin; one more at the end."""

    @classmethod
    def by_owner(cls, owner: Indices, clients: int) -> Deal:
        """Return the deal in which sample i goes to client ``owner[i]``."""
        return cls(np.argsort(owner, kind="stable"), np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=clients))]))

    @property
    def sizes(self) -> Indices:
        """Number of samples of each client."""
        return np.diff(self.begins)

    def of(self, client: int) -> Indices:
        """Return a client's samples."""
        return self.samples[self.begins[client] : self.begins[client + 1]]


class Split(Part):
    """How the training set is dealt out."""

    family: ClassVar[str] = "split"

    @abstractmethod
    def owners(self, labels: Indices, clients: int, rng: np.random.Generator) -> Indices:
        """Return the client of every sample; *labels* (n,), and n is at least *clients*. Some may get nothing, which `deal` mends."""

    def deal(self, labels: Indices, clients: int, rng: np.random.Generator) -> Deal:
        """Return a deal in which every client has a sample at least: who got none takes the last one of who has most."""
        owner = self.owners(labels, clients, rng)
        deal = Deal.by_owner(owner, clients)
        left = deal.sizes
        for client in np.flatnonzero(left == 0).tolist():
            richest = int(left.argmax())
            left[richest] -= 1
            owner[deal.of(richest)[left[richest]]] = client
            left[client] = 1
        return Deal.by_owner(owner, clients) if (deal.sizes == 0).any() else deal
