"""DenseNet-BC for small images: every layer sees the maps of all layers before it.

Source: Huang, Liu, van der Maaten, Weinberger 2017, *Densely Connected Convolutional Networks*: bottlenecks of four times the growth,
transitions that halve the channels, a stem of twice the growth, three blocks, weights as in He et al. 2015. Parameters for ten classes:
100-12 769,162, 250-24 15,324,406, 190-40 25,624,430. DenseNet-201 with a stem of one 3x3 convolution and its norm: 18,104,458.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from toolkit.models import ModelError, fresh

BOTTLENECK = 4


class DenseLayer(nn.Module):
    """Norm, ReLU, 1x1 to four times the growth; norm, ReLU, 3x3 to the growth; behind the maps that came in."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, BOTTLENECK * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(BOTTLENECK * growth)
        self.conv2 = nn.Conv2d(BOTTLENECK * growth, growth, 3, padding=1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        squeezed = self.conv1(functional.relu(self.norm1(maps), inplace=True))
        return torch.cat((maps, self.conv2(functional.relu(self.norm2(squeezed), inplace=True))), 1)


class DenseTransition(nn.Module):
    """Norm, ReLU, 1x1 to half of the channels, mean over 2x2."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, inputs // 2, 1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        return functional.avg_pool2d(self.conv(functional.relu(self.norm(maps), inplace=True)), 2)


class DenseNet(nn.Module):
    """Dense blocks of `blocks[i]` layers with transitions between."""

    def __init__(self, blocks: Sequence[int], growth: int, num_classes: int, in_channels: int, *, stem_norm: bool = False) -> None:
        super().__init__()
        if not blocks or min(blocks) < 1 or growth < 1:
            raise ModelError(f"densenet_bc: needs at least one layer per block and growth 1, got blocks {list(blocks)}, growth {growth}")
        channels = 2 * growth
        layers: list[nn.Module] = [nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)]
        if stem_norm:
            layers += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
        for place, count in enumerate(blocks):
            if place:
                layers.append(DenseTransition(channels))
                channels //= 2
            for _ in range(count):
                layers.append(DenseLayer(channels, growth))
                channels += growth
        self.layers = nn.Sequential(*layers)
        self.norm = nn.BatchNorm2d(channels)
        self.feature_size = channels
        self.classifier = nn.Linear(channels, num_classes)

    def maps(self, images: Tensor) -> Tensor:
        """Return the last map (batch, feature_size, height, width), at least 0."""
        return functional.relu(self.norm(self.layers(images)), inplace=True)

    def features(self, images: Tensor) -> Tensor:
        """Return the pooled features (batch, feature_size)."""
        return functional.adaptive_avg_pool2d(self.maps(images), 1).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Return scores (batch, classes) of images (batch, channels, height, width)."""
        scores: Tensor = self.classifier(self.features(images))
        return scores


def densenet_bc(
    num_classes: int = 10, in_channels: int = 3, growth: int = 12, depth: int = 100, blocks: Sequence[int] | None = None,
    generator: torch.Generator | None = None,
) -> DenseNet:
    """Return DenseNet-BC of *depth* = 6n + 4 layers, n per block, or with the number of layers that *blocks* gives each block."""
    if blocks is None:
        if depth < 10 or (depth - 4) % 6:
            raise ModelError(f"densenet_bc: depth {depth} is not 6n + 4 (10, 16, 22, ...)")
        blocks = ((depth - 4) // 6,) * 3
    chosen = tuple(blocks)
    return fresh(lambda: DenseNet(chosen, growth, num_classes, in_channels), generator, "he")


def densenet201(num_classes: int = 10, in_channels: int = 3, generator: torch.Generator | None = None) -> DenseNet:
    """Return DenseNet-201 for small images: growth 32, four blocks, no pooling before the first; the map of 32x32 is 1920 x 4 x 4."""
    return fresh(lambda: DenseNet((6, 12, 48, 32), 32, num_classes, in_channels, stem_norm=True), generator, "he")
