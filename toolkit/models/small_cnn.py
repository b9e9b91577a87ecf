"""A small convolutional network for small images, 8x8 digits as well as 28x28 or 32x32.

Source: ours, for runs that must train in seconds. GroupNorm instead of BatchNorm, so that a step depends on the weights and its batch
alone: a distributed method then has no running statistics to agree on, and compared methods differ by what they send only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from toolkit.models import ModelError, fresh

CHANNELS_PER_GROUP = 4


class SmallCnn(nn.Module):
    """Three 3x3 convolutions of *width*, 2 and 4 times *width* channels, pooled to 2x2, and a linear classifier.

    Parameters with w = width, i = in_channels, K = num_classes: 90 w^2 + 9 i w + 14 w + 16 w K + K.
    """

    def __init__(self, num_classes: int, in_channels: int, width: int) -> None:
        super().__init__()
        if width < 1 or width % CHANNELS_PER_GROUP:
            raise ModelError(f"small_cnn: width {width} is not a positive multiple of {CHANNELS_PER_GROUP}")
        self.features = nn.Sequential(
            *_block(in_channels, width), nn.MaxPool2d(2),
            *_block(width, 2 * width), nn.MaxPool2d(2),
            *_block(2 * width, 4 * width), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        )
        self.classifier = nn.Linear(16 * width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return scores (batch, classes) of images (batch, channels, height, width), at least 4x4."""
        scores: Tensor = self.classifier(self.features(images))
        return scores


def _block(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.GroupNorm(outputs // CHANNELS_PER_GROUP, outputs), nn.ReLU()


def small_cnn(num_classes: int = 10, in_channels: int = 1, width: int = 16, generator: torch.Generator | None = None) -> SmallCnn:
    """Return the network; 25,978 parameters with the defaults."""
    return fresh(lambda: SmallCnn(num_classes, in_channels, width), generator, "he")
