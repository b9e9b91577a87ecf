"""Backbones: networks that give maps of several strides.

`CompactBackbone` is for small machines: convolutions of 3 x 3, each with BatchNorm and ReLU. `ResNetBackbone` is He et al. 2016 with the
stride in the 3 x 3 convolution; its tensors are called as those of torchvision's resnet50 are, so that weights from elsewhere fit.
`HcgBackbone` is HCGNet (`toolkit.models.hcgnet`) as far as its last stage.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from toolkit.models.hcgnet import HcgNet
from toolkit.models.hcgnet_cells import Transition


class Backbone(nn.Module, ABC):
    """A network that gives maps; `strides` and `channels` say which."""

    strides: tuple[int, ...]
    channels: tuple[int, ...]

    @abstractmethod
    def forward(self, images: Tensor) -> list[Tensor]:
        """Return one map per stride, finest first."""

    @abstractmethod
    def first_stages(self) -> nn.ModuleList:
        """What lies before the first map and stays frozen in a fine-tuned network: the stem and the first stage."""


def unit(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Return a convolution of 3 x 3 with BatchNorm and ReLU."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class CompactBackbone(Backbone):
    """A stem and stages of two units, each of which halves its maps; the last two are given."""

    def __init__(self, widths: Sequence[int] = (16, 32, 64, 96), in_channels: int = 3) -> None:
        super().__init__()
        self.stem = unit(in_channels, widths[0], 2)
        self.stages = nn.ModuleList(
            nn.Sequential(unit(before, width, 2), unit(width, width)) for before, width in pairwise(widths)
        )
        self.strides = tuple(2 ** (stage + 2) for stage in range(len(widths) - 1))[-2:]
        self.channels = tuple(widths[1:])[-2:]

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = [self.stem(images)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps[-len(self.strides):]

    def first_stages(self) -> nn.ModuleList:
        return nn.ModuleList([self.stem, self.stages[0]])


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions with BatchNorm, beside the identity."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.downsample: nn.Sequential | None = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, maps: Tensor) -> Tensor:
        beside = maps if self.downsample is None else self.downsample(maps)
        maps = functional.relu(self.bn1(self.conv1(maps)), inplace=True)
        maps = functional.relu(self.bn2(self.conv2(maps)), inplace=True)
        return functional.relu(self.bn3(self.conv3(maps)) + beside, inplace=True)


class ResNetBackbone(Backbone):
    """ResNet of bottlenecks; gives the maps of its stages 2 to 4, of strides 8, 16 and 32. *blocks* (3, 4, 6, 3) is ResNet-50."""

    def __init__(self, blocks: Sequence[int] = (3, 4, 6, 3), width: int = 64, in_channels: int = 3) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(in_channels, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        inputs, stages = width, []
        for place, count in enumerate(blocks):
            inner = width * 2**place
            first = Bottleneck(inputs, inner, 1 if place == 0 else 2)
            inputs = 4 * inner
            stages.append(nn.Sequential(first, *(Bottleneck(inputs, inner, 1) for _ in range(count - 1))))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.strides, self.channels = (8, 16, 32), (8 * width, 16 * width, 32 * width)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = functional.relu(self.bn1(self.conv1(images)), inplace=True)
        maps = self.layer1(functional.max_pool2d(maps, 3, 2, 1))
        second = self.layer2(maps)
        third = self.layer3(second)
        return [second, third, self.layer4(third)]

    def first_stages(self) -> nn.ModuleList:
        return nn.ModuleList([self.conv1, self.bn1, self.layer1])


class HcgBackbone(Backbone):
    """HCGNet with its stem for photographs; gives the maps before each halving but the first, and the last."""

    def __init__(self, growth: Sequence[int] = (4, 8, 12), blocks: Sequence[int] = (2, 2, 2)) -> None:
        super().__init__()
        net = HcgNet(growth, blocks, 1, 3, image_stem=True)
        self.stem, self.layers, self.norm = net.stem, net.layers, net.norm
        with torch.no_grad():
            shapes = [maps.shape for maps in self.eval()(torch.empty((2, 3, 64, 64), device=next(self.parameters()).device))]
        self.train()
        self.strides = tuple(64 // shape[2] for shape in shapes)
        self.channels = tuple(shape[1] for shape in shapes)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps, given = self.stem(images), []
        for layer in self.layers:
            if isinstance(layer, Transition):
                given.append(maps)
            maps = layer(maps)
        return [*given[1:], functional.relu(self.norm(maps))]

    def first_stages(self) -> nn.ModuleList:
        return nn.ModuleList([self.stem, self.layers[0]])
