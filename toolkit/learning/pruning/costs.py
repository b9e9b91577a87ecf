"""What masks leave: parameters and multiply-adds of the rebuilt network, for whole populations at once, in closed form.

A weight keeps ``prod_d kept(d)`` of its numbers, where `kept(d)` is linear in the bits of the mask; a layer's multiply-adds are its
weight's numbers times its output pixels, those of attention heads times width times tokens. For LeNet-5 this gives
P(a,b,h) = 26a + b(25a+1) + h(16b+11) + 10 and C(a,b) = 14,400a + 1,600ab.
Convention: 1 multiply-add counts once; biases, normalisation and pooling are not multiply-adds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.learning.pruning.groups import Groups, Mask

Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Costs:
    """Counts per mask; build it once per network."""

    fixed: dict[tuple[str, int], int]
    """Indices that always stay, by (weight, dimension)."""
    multiplicity: dict[tuple[str, int], NDArray[np.float64]]
    """Indices that stay with each unit."""
    groups: Groups

    @classmethod
    def of(cls, groups: Groups) -> Costs:
        fixed: dict[tuple[str, int], int] = {}
        multiplicity = {}
        for key, owner in groups.owners.items():
            fixed[key] = int((owner < 0).sum())
            multiplicity[key] = np.bincount(owner[owner >= 0], minlength=groups.units).astype(np.float64)
        return cls(fixed, multiplicity, groups)

    def _numbers(self, masks: Mask) -> dict[str, Counts]:
        """How many numbers each parameter keeps, by mask (N,)."""
        floats = np.atleast_2d(masks).astype(np.float64)
        found: dict[str, Counts] = {}
        for name in self.groups.parameters:
            count = np.ones(len(floats), np.int64)
            for dim, size in enumerate(self.groups.shapes[name]):
                key = (name, dim)
                kept = (self.fixed[key] + floats @ self.multiplicity[key]).astype(np.int64) if key in self.fixed else np.int64(size)
                count = count * kept
            found[name] = count
        return found

    def params(self, masks: Mask) -> Counts:
        """Return the parameters of each mask of *masks* (N, units)."""
        return np.asarray(np.sum(list(self._numbers(masks).values()), axis=0), np.int64)

    def macs(self, masks: Mask) -> tuple[Counts, Counts]:
        """Return the multiply-adds per image of the convolutions, and of all products."""
        convolutions = self._products(masks, convolution=True)
        return convolutions, convolutions + self._products(masks, convolution=False)

    def padded_macs(self, masks: Mask, channels: int) -> Counts:
        """Return the multiply-adds per image of the convolutions when their channels come in groups of *channels*."""
        return self._products(masks, convolution=True, channels=channels)

    def _products(self, masks: Mask, *, convolution: bool, channels: int = 1) -> Counts:
        """Add up the products of one kind by mask, their factors rounded up to multiples of *channels*."""
        floats = np.atleast_2d(masks).astype(np.float64)
        total = np.zeros(len(floats), np.int64)
        for product in self.groups.products:
            if product.convolution == convolution:
                count = np.full(len(floats), product.constant, np.int64)
                for owner in product.factors:
                    kept = int((owner < 0).sum()) + floats @ np.bincount(owner[owner >= 0], minlength=self.groups.units)
                    count = count * (-(-kept.astype(np.int64) // channels) * channels)
                total += count
        return total
