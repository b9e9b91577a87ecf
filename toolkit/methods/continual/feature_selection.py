"""Class-aware feature selection of CLFD: which pooled features a class may use while it is learned, and which answer.

Every sample, in training and later, keeps the `share` of its features that respond most. How often each class has kept each feature is
counted (F). From these counts come probabilities (P) by which a class keeps a feature while it is trained on: first ones that steer a new
class to the features of the most similar old class and away from those of the least similar (`frequency_keep`), later ones that hold each
class to the features it uses (`semantic_keep`).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from toolkit.core.work import Work
from toolkit.learning.wavelet import low_band
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.network import Selection

TINY = 1e-16
"""What stands for the largest count of a class that has none."""


class ClassAwareSelection(Selection):
    """Drops features of labelled samples by class, then keeps the largest of every sample.

    Args:
        num_classes: rows of the tables.
        size: features.
        share: of the features that a sample keeps: the int(share x size) largest by magnitude, fewer where the rest are all zero.
        uniform: probability of keeping a feature for classes of which nothing is known.
    """

    counts: Tensor
    keep: Tensor

    def __init__(self, num_classes: int, size: int, share: float, uniform: float) -> None:
        super().__init__()
        self.share, self.uniform = share, uniform
        self.register_buffer("counts", torch.zeros((num_classes, size), dtype=torch.int64))
        self.register_buffer("keep", torch.full((num_classes, size), uniform))
        self.draw: Tensor | None = None
        """Uniform numbers (d,) or (n, d) for the labelled samples of this step; none outside a training step."""

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        if labels is None or self.draw is None:
            return features * self.largest(features)
        features = features * (self.draw < self.keep[labels])
        kept = self.largest(features)
        self.counts.index_add_(0, labels, kept.long())
        return features * kept

    def labelled_work(self, count: int) -> Work:
        """Comparing, dropping and counting the features of *count* labelled samples."""
        numbers = self.keep.shape[1] * count
        return Work(3.0 * numbers, 21.0 * numbers, 13.0 * numbers, 5.0)

    @torch.no_grad()
    def largest(self, features: Tensor) -> Tensor:
        """Return which features of each sample exceed its threshold in magnitude, bool (n, d)."""
        size = features.shape[1]
        dropped = size - int(self.share * size)
        if dropped == 0:
            return torch.ones_like(features, dtype=torch.bool)
        magnitude = features.detach().abs()
        return magnitude > magnitude.topk(size - dropped + 1).values[:, -1:]

    def set_keep(self, classes: range, probabilities: Tensor) -> None:
        """Set the probabilities of *classes*; a class that could keep nothing at all gets the uniform ones."""
        empty = probabilities.amax(dim=1, keepdim=True) <= 0
        found = torch.where(empty, torch.full_like(probabilities, self.uniform), probabilities)
        self.keep[classes.start : classes.stop] = found.to(self.keep)

    def relative_counts(self) -> Tensor:
        """Return F / max F of every class, float64 (K, d)."""
        counts = self.counts.double()
        return counts / counts.amax(dim=1, keepdim=True).clamp_min(TINY)


def hold_to_use(learner: Learner, select: ClassAwareSelection, beta: float) -> None:
    """Let every class keep what it uses, eq. (5): one pass over F and P, counted."""
    select.set_keep(range(learner.num_classes), semantic_keep(select.relative_counts(), learner.seen, beta))
    entries = learner.num_classes * learner.net.feature_size
    learner.did(Work(5.0 * entries, 8.0 * entries, 4.0 * entries, 6.0))


def sum_low_bands(learner: Learner, sums: Tensor, images: Tensor, labels: Tensor) -> None:
    """Add the flat low bands of uint8 *images* to the *sums* (K, sites) of their classes, counted.

    Per site: normalising 2 FLOPs for each of 4 pixels, 4 for summing them, 1 for adding the sum.
    """
    low = low_band(learner.clean(images)).flatten(1)
    sums.index_add_(0, labels, low)
    learner.did(Work(13.0 * low.numel(), 20.0 * low.numel(), 8.0 * low.numel(), 5.0))


def similarities(sums: Tensor, new: range, old: range) -> Tensor:
    """Return the cosines (new, old) between the summed low bands of classes, of *sums* (K, sites)."""
    unit = torch.nn.functional.normalize(sums.double(), dim=1)
    return unit[new.start : new.stop] @ unit[old.start : old.stop].T


def frequency_keep(
    relative: Tensor, cosines: Tensor, weight: float, *, form: Literal["shifted", "paper"], most_similar: Literal["old", "all"] = "old"
) -> Tensor:
    """Return the probabilities of new classes (new, d), eqs. (2) to (4) of the paper.

    lambda exp(-a- F[y-] / max F[y-]) + (1 - lambda) (1 - exp(-a+ F[y+] / max F[y+])), where y+ and y- are the most and the least similar
    old class, a- = mean / least and a+ = most / mean of the cosines; ``shifted`` adds 1 to each of them first, so that none is negative.

    Args:
        relative: F / max F of the old classes, the first rows of (K, d).
        cosines: (new, old).
        weight: lambda.
        form: see above.
        most_similar: whether y+ is one of the old classes or of all K, whose cosine is 0 where they are not old.
    """
    candidates = torch.nn.functional.pad(cosines, (0, len(relative) - cosines.shape[1])) if most_similar == "all" else cosines
    shift = 1.0 if form == "shifted" else 0.0
    most, nearest = candidates.max(dim=1)
    least, farthest = cosines.min(dim=1)
    mean = cosines.mean(dim=1)
    away = _ratio(mean + shift, least + shift)[:, None]
    towards = _ratio(most + shift, mean + shift)[:, None]
    found = weight * torch.exp(-away * relative[farthest]) + (1 - weight) * (1 - torch.exp(-towards * relative[nearest]))
    return found.clamp(0.0, 1.0)


def semantic_keep(relative: Tensor, seen: int, beta: float) -> Tensor:
    """Return the probabilities 1 - exp(-beta F / max F) of all classes (K, d), eq. (5); 0 for those that have not been *seen*."""
    known = torch.arange(len(relative), device=relative.device)[:, None] < seen
    return torch.where(known, 1 - torch.exp(-beta * relative), torch.zeros_like(relative))


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Divide; a denominator of nearly 0 keeps its sign and gets the size `TINY`."""
    safe = torch.where(denominator.abs() < TINY, torch.full_like(denominator, TINY), denominator)
    return numerator / safe
