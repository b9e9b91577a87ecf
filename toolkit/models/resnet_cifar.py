"""The residual networks of He et al. for 32x32 images: ResNet-20, -56, -110.

Source: He, Zhang, Ren, Sun 2016, *Deep Residual Learning for Image Recognition*, section 4.2: 6n + 2 layers, 16, 32 and 64 channels at
32x32, 16x16 and 8x8, shortcuts without parameters (option A), weights as in He et al. 2015. Departures: none known.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from toolkit.models import ModelError, fresh


class Block(nn.Module):
    """Two 3x3 convolutions around an identity; where channels grow, the identity is subsampled and padded with zero channels (option A)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride, self.grown = stride, outputs - inputs
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(maps)))))
        if self.grown:
            before = self.grown // 2
            maps = functional.pad(maps[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.grown - before))
        return functional.relu(inner + maps)


class ResNetCifar(nn.Module):
    """6n + 2 layers; parameters with C input channels and K classes: 97,216 n - 23,008 + 144 C + 65 K."""

    def __init__(self, depth: int, num_classes: int, in_channels: int) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ModelError(f"resnet_cifar: depth {depth} is not 6n + 2 (8, 14, 20, ...)")
        count = (depth - 2) // 6
        self.conv = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        blocks, inputs = [], 16
        for outputs, stride in ((16, 1), (32, 2), (64, 2)):
            blocks += [Block(inputs, outputs, stride), *(Block(outputs, outputs, 1) for _ in range(count - 1))]
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(64, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """Return the pooled features (batch, 64)."""
        maps = self.blocks(functional.relu(self.bn(self.conv(images))))
        return functional.adaptive_avg_pool2d(maps, 1).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Return scores (batch, classes) of images (batch, channels, height, width)."""
        scores: Tensor = self.classifier(self.features(images))
        return scores


def resnet_cifar(
    depth: int = 20, num_classes: int = 10, in_channels: int = 3, generator: torch.Generator | None = None
) -> ResNetCifar:
    """Return the network of *depth* = 6n + 2 layers."""
    return fresh(lambda: ResNetCifar(depth, num_classes, in_channels), generator, "he")


def resnet20(num_classes: int = 10, in_channels: int = 3, generator: torch.Generator | None = None) -> ResNetCifar:
    """Return ResNet-20: 269,722 parameters for ten classes, 40.55 million multiply-adds at 32x32."""
    return resnet_cifar(20, num_classes, in_channels, generator)


def resnet56(num_classes: int = 10, in_channels: int = 3, generator: torch.Generator | None = None) -> ResNetCifar:
    """Return ResNet-56: 853,018 parameters for ten classes, 125.49 million multiply-adds at 32x32."""
    return resnet_cifar(56, num_classes, in_channels, generator)


def resnet110(num_classes: int = 10, in_channels: int = 3, generator: torch.Generator | None = None) -> ResNetCifar:
    """Return ResNet-110: 1,727,962 parameters for ten classes, 252.89 million multiply-adds at 32x32."""
    return resnet_cifar(110, num_classes, in_channels, generator)
