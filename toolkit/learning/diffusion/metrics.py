"""How close made images are to real ones: Fréchet distances, kernel distance, precision and recall by nearest neighbours.

None of these is the published FID, which needs the weights of one Inception network; a Fréchet distance of a classifier's features is
called clf-FID and compared only between runs with the same classifier and number of samples.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from toolkit.learning.diffusion.features import FeatureNet, pooled
from toolkit.learning.diffusion.schedule import DiffusionError

ROWS = 2048
"""Samples whose distances to all others are in memory at once."""


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean (d,) and covariance (d, d) of *features* (n, d) in float64.

    Raises:
        DiffusionError: fewer than two samples.
    """
    if len(features) < 2:
        raise DiffusionError(f"metric: {len(features)} samples have no covariance; take at least 2")
    features = features.double()
    return features.mean(0), torch.cov(features.T).reshape(features.shape[1], features.shape[1])


def frechet(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> float:
    """Return the Fréchet distance of two Gaussians, each mean and covariance.

    The trace of (S1 S2)^(1/2) is the sum of the roots of the eigenvalues of S1^(1/2) S2 S1^(1/2), which are real.
    """
    values, vectors = torch.linalg.eigh(one[1])
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    crossed = torch.linalg.eigvalsh(root @ other[1] @ root).clamp(min=0).sqrt().sum()
    return float((one[0] - other[0]).square().sum() + one[1].trace() + other[1].trace() - 2 * crossed)


@torch.no_grad()
def class_features(net: FeatureNet, images: Tensor) -> Tensor:
    """Return pooled features (n, channels)."""
    return torch.cat([pooled(net.maps(part)) for part in torch.split(images, 500)])


def projected(images: Tensor, dimensions: int = 32, seed: int = 0) -> Tensor:
    """Return random projections (n, dimensions) of the pixels: no classifier has a part in them."""
    flat = images.flatten(1)
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(flat.shape[1], dimensions, generator=generator, dtype=torch.float64) / math.sqrt(flat.shape[1])
    return flat.double() @ matrix.to(flat.device)


def distance(real: Tensor, made: Tensor) -> float:
    """Return the Fréchet distance of two sets of features (n, d)."""
    return frechet(moments(real), moments(made))


def floor(real: Tensor) -> float:
    """Return what half of the real features are away from all of them: nothing made can be told to be closer."""
    return distance(real, real[::2])


def kernel_distance(real: Tensor, made: Tensor) -> float:
    """Return KID: the unbiased squared MMD with the kernel (x y / d + 1)^3 (Binkowski et al. 2018, arXiv 1801.01401)."""
    real, made = real.double(), made.double()

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a: Tensor) -> float:
        values = kernel(a, a)
        return float((values.sum() - values.trace()) / (len(a) * (len(a) - 1)))

    return within(real) + within(made) - 2 * float(kernel(real, made).mean())


def precision_recall(real: Tensor, made: Tensor) -> tuple[float, float]:
    """Return the shares of made images within reach of a real one, and of real ones within reach of a made one.

    An image reaches as far as its nearest neighbour of its own kind (Kynkaanniemi et al. 2019, arXiv 1904.06991, with k = 1).
    """
    real, made = real.double(), made.double()

    def within_reach(a: Tensor, b: Tensor) -> float:
        """The share of *a* that some *b* reaches."""
        reach = torch.cat([
            torch.cdist(part, b).scatter_(1, place[:, None], math.inf).min(1).values
            for part, place in zip(torch.split(b, ROWS), torch.split(torch.arange(len(b), device=b.device), ROWS), strict=True)
        ])
        return float(torch.cat([(torch.cdist(part, b) <= reach).any(1) for part in torch.split(a, ROWS)]).double().mean())

    return within_reach(made, real), within_reach(real, made)
