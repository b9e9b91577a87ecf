"""Regularisers that work on a batch of images and their targets: cutout, mixup, label smoothing.

Source: DeVries, Taylor 2017 (cutout: one square per image around a random pixel, which may reach over the border); Zhang, Cisse, Dauphin,
Lopez-Paz 2018 (mixup: one share per batch from a Beta distribution); Szegedy et al. 2016 for label smoothing, here with the mass spread
over the wrong classes alone, as HCGNet does. Targets are rows of class shares (batch, classes), which `cross_entropy` of torch takes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


def smoothed(labels: Tensor, num_classes: int, epsilon: float = 0.0) -> Tensor:
    """Return targets (batch, classes): 1 - *epsilon* for each label, and *epsilon* shared equally by the other classes.

    Raises:
        ValueError: *epsilon* outside [0, 1), or one class alone.
    """
    if not 0 <= epsilon < 1 or num_classes < 2:
        raise ValueError(f"label smoothing needs an epsilon of at least 0 and below 1, and two classes (got {epsilon}, {num_classes})")
    right = functional.one_hot(labels, num_classes).float()
    return right * (1 - epsilon) + (1 - right) * (epsilon / (num_classes - 1))


def mixup(images: Tensor, targets: Tensor, alpha: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return both mixed with a shuffled copy of themselves, the share kept being one draw from Beta(*alpha*, *alpha*).

    The cross-entropy of the mixed targets is the mixed cross-entropy of the two labels, which is what the source writes.

    Raises:
        ValueError: *alpha* is not positive.
    """
    if not alpha > 0:
        raise ValueError(f"alpha of mixup must be above 0 (got {alpha})")
    share = float(rng.beta(alpha, alpha))
    partner = torch.from_numpy(rng.permutation(len(images))).to(images.device)
    return images.lerp(images[partner], 1 - share), targets.lerp(targets[partner], 1 - share)


def cutout(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Return *images* (batch, channels, height, width) with a square of side *size* set to zero in each.

    Its centre is drawn from all pixels; the square ends at the border. Normalised images lose their mean there, as in the source.

    Raises:
        ValueError: *size* is not positive.
    """
    if size < 1:
        raise ValueError(f"size of cutout must be at least 1 pixel (got {size})")
    batch, _, height, width = images.shape
    drawn = torch.rand(batch, 2, generator=generator, device=generator.device).to(images.device)
    inside = [
        _covered((drawn[:, axis] * side).long(), side, size) for axis, side in enumerate((height, width))
    ]
    square = inside[0].unsqueeze(2) & inside[1].unsqueeze(1)
    return images.masked_fill(square.unsqueeze(1), 0)


def _covered(centres: Tensor, side: int, size: int) -> Tensor:
    """Which of *side* places (batch, side) a segment of *size* around each centre covers."""
    places = torch.arange(side, device=centres.device)
    first = centres.unsqueeze(1) - size // 2
    return (places >= first) & (places < first + size)
