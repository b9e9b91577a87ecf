"""Wide residual networks: few, wide blocks in pre-activation order.

Source: Zagoruyko, Komodakis 2016, *Wide Residual Networks*, with 1x1 convolutions as shortcuts and no dropout. Parameters for ten classes:
WRN-16-2 691,674, WRN-40-2 2,243,546, WRN-28-10 36,479,194.
"""

from __future__ import annotations

import torch

from toolkit.models import ModelError, fresh
from toolkit.models.preact_resnet import PreActResNet

STEM = 16


def wide_resnet(
    num_classes: int = 10, in_channels: int = 3, depth: int = 16, widen: int = 2, generator: torch.Generator | None = None
) -> PreActResNet:
    """Return the network of *depth* = 6n + 4 layers with 16, 32 and 64 times *widen* channels; WRN-16-2 with the defaults."""
    if depth < 10 or (depth - 4) % 6:
        raise ModelError(f"wide_resnet: depth {depth} is not 6n + 4 (10, 16, 22, ...)")
    count = (depth - 4) // 6
    return fresh(lambda: PreActResNet((count, count, count), STEM * widen, num_classes, in_channels, stem=STEM), generator, "he")
