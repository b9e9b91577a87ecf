"""Multi-layer perceptrons: linear layers with ReLU between; LeNet-300-100 with the defaults."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from toolkit.models import ModelError, fresh


class Mlp(nn.Module):
    """Flattened images through hidden layers of the given sizes; n(m+1) parameters from a layer of m to one of n units."""

    def __init__(self, num_classes: int, in_channels: int, image_size: int, hidden: Sequence[int]) -> None:
        super().__init__()
        sizes = [in_channels * image_size * image_size, *hidden]
        if min(sizes) < 1:
            raise ModelError(f"mlp: every layer needs at least one unit, got {sizes}")
        self.inputs = sizes[0]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.features = nn.Sequential(nn.Flatten(), *layers)
        self.classifier = nn.Linear(sizes[-1], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return scores (batch, classes) of images (batch, channels, size, size)."""
        if images.shape[1:].numel() != self.inputs:
            shape = tuple(images.shape[1:])
            raise ModelError(f"mlp: built for {self.inputs} inputs, got images of shape {shape}; build it with in_channels and image_size")
        scores: Tensor = self.classifier(self.features(images))
        return scores


def mlp(
    num_classes: int = 10, in_channels: int = 1, image_size: int = 28, hidden: Sequence[int] = (300, 100),
    generator: torch.Generator | None = None,
) -> Mlp:
    """Return a perceptron; the defaults are LeNet-300-100 with 266,610 parameters."""
    return fresh(lambda: Mlp(num_classes, in_channels, image_size, hidden), generator, "he")
