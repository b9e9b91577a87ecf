"""ResNet-18 as continual learning uses it on small images.

Source: He et al. 2016 for blocks of two convolutions; the layout for small images (a 3x3 stem with stride 1, no max-pooling, 1x1
convolutions as shortcuts, average over the whole last map) is that of the mammoth library's backbone, `nf` being the width of the first
stage. It takes any image size. Departure: the pooled features and the classifier are two calls, as several methods need them apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from toolkit.models import ModelError, fresh


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with BatchNorm around a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, maps: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(maps)))))
        return functional.relu(inner + self.shortcut(maps))


class ResNet(nn.Module):
    """Stages of `blocks[i]` blocks with `nf * 2**i` channels, each stage but the first halving the map."""

    def __init__(self, blocks: Sequence[int], num_classes: int, nf: int, in_channels: int) -> None:
        super().__init__()
        if not blocks or min(blocks) < 1 or nf < 1:
            raise ModelError(f"resnet: needs at least one block in every stage and one channel, got blocks {list(blocks)}, nf {nf}")
        self.conv = nn.Conv2d(in_channels, nf, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(nf)
        stages, inputs = [], nf
        for stage, count in enumerate(blocks):
            outputs = nf << stage
            stages.append(nn.Sequential(*(
                BasicBlock(outputs if place else inputs, outputs, 2 if stage and not place else 1) for place in range(count)
            )))
            inputs = outputs
        self.stages = nn.Sequential(*stages)
        self.feature_size = inputs
        self.classifier = nn.Linear(inputs, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """Return the pooled features (batch, feature_size)."""
        maps = self.stages(functional.relu(self.bn(self.conv(images))))
        return functional.adaptive_avg_pool2d(maps, 1).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Return scores (batch, classes) of images (batch, channels, height, width)."""
        scores: Tensor = self.classifier(self.features(images))
        return scores


def resnet(
    num_classes: int = 10, nf: int = 16, in_channels: int = 3, blocks: Sequence[int] = (1, 1), generator: torch.Generator | None = None
) -> ResNet:
    """Return a ResNet of any size; the defaults are one for small tasks: 19,706 parameters with one input channel, 19,994 with three."""
    return fresh(lambda: ResNet(blocks, num_classes, nf, in_channels), generator)


def resnet18(num_classes: int = 10, nf: int = 64, in_channels: int = 3, generator: torch.Generator | None = None) -> ResNet:
    """Return ResNet-18: 11,173,962 parameters for 10 classes, 11,220,132 for 100 and 11,271,432 for 200 with *nf* = 64."""
    return fresh(lambda: ResNet((2, 2, 2, 2), num_classes, nf, in_channels), generator)
