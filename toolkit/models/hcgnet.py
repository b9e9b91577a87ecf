"""HCGNet: few gated modules per block, joined densely between modules and by gated sums within them.

Source: Yang et al. 2020, *Gated Convolutional Networks with Hybrid Connectivity for Image Classification* (AAAI, arXiv 1908.09699); sizes,
reductions and order of layers are those of its reference implementation. Parameters with ten classes (A) or a thousand (B, C): A1
1,065,301, A2 3,069,149, A3 11,239,897, B 12,845,501, C 42,153,208. Departures: the dropout before the classifier of the large models is
left out (in the reference it acts on a tensor that is then discarded); images need not be square; a training batch of one image is
refused in words.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from toolkit.learning.dropblock import DropBlock
from toolkit.models import ModelError, fresh
from toolkit.models.hcgnet_cells import Gates, Smg, Transition

DROPPED_SQUARE = 2


class HcgNet(nn.Module):
    """Blocks of modules, `blocks[i]` of them with `growth[i]` new maps each, and a transition between blocks.

    With *image_stem*, three convolutions and a pooling quarter the sides first (B, C); without it, one convolution to twice the first
    growth keeps them, and a `DropBlock` follows every transition (A1 to A3), idle until a schedule sets it.
    """

    def __init__(
        self, growth: Sequence[int], blocks: Sequence[int], num_classes: int, in_channels: int, image_stem: bool = False,
        gates: Gates = "smg",
    ) -> None:
        super().__init__()
        if len(growth) != len(blocks) or not blocks or min(blocks) < 1:
            raise ModelError(f"hcgnet: growth and blocks need one positive number per block, got {list(growth)} and {list(blocks)}")
        self.stem: nn.Module
        if image_stem:
            channels = 64
            self.stem = nn.Sequential(*_stem(in_channels, 32, 2), *_stem(32, 32, 1), *_stem(32, 64, 1), nn.MaxPool2d(3, 2, padding=1))
        else:
            channels = 2 * growth[0]
            self.stem = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        layers: list[nn.Module] = []
        for place, (new, count) in enumerate(zip(growth, blocks, strict=True)):
            if place:
                transition = Transition(channels, gates)
                channels = transition.outputs
                layers += [transition] if image_stem else [transition, DropBlock(DROPPED_SQUARE)]
            layers.append(nn.Sequential(*(Smg(channels + index * new, new, gates) for index in range(count))))
            channels += count * new
        self.layers = nn.Sequential(*layers)
        self.norm = nn.BatchNorm2d(channels)
        self.feature_size = channels
        self.classifier = nn.Linear(channels, num_classes)
        self.needs_two = any(isinstance(module, nn.BatchNorm1d) for module in self.modules())

    def features(self, images: Tensor) -> Tensor:
        """Return the pooled features (batch, feature_size)."""
        if self.training and self.needs_two and len(images) < 2:
            raise ModelError(
                "hcgnet: the gates' BatchNorm works on one vector per image, so training needs at least 2 images per batch (got 1)"
            )
        maps = self.layers(self.stem(images))
        return functional.adaptive_avg_pool2d(functional.relu(self.norm(maps), inplace=True), 1).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Return scores (batch, classes) of images (batch, channels, height, width)."""
        scores: Tensor = self.classifier(self.features(images))
        return scores


def _stem(inputs: int, outputs: int, stride: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)


def hcgnet(
    num_classes: int = 10, in_channels: int = 1, growth: Sequence[int] = (4, 8, 12), blocks: Sequence[int] = (3, 3, 3),
    gates: Gates = "smg", generator: torch.Generator | None = None,
) -> HcgNet:
    """Return a network for small images; the defaults have 28,344 parameters. *gates* other than `smg` are for ablations."""
    return fresh(lambda: HcgNet(growth, blocks, num_classes, in_channels, gates=gates), generator)


def hcgnet_a1(num_classes: int = 10, in_channels: int = 3, generator: torch.Generator | None = None) -> HcgNet:
    """Return HCGNet-A1 for 32x32 images: 1,065,301 parameters for ten classes, 154.2 million multiply-adds."""
    return hcgnet(num_classes, in_channels, (12, 24, 36), (8, 8, 8), generator=generator)


def hcgnet_a2(num_classes: int = 10, in_channels: int = 3, generator: torch.Generator | None = None) -> HcgNet:
    """Return HCGNet-A2 for 32x32 images: 3,069,149 parameters for ten classes, 488.6 million multiply-adds."""
    return hcgnet(num_classes, in_channels, (24, 36, 64), (8, 8, 8), generator=generator)


def hcgnet_a3(num_classes: int = 10, in_channels: int = 3, generator: torch.Generator | None = None) -> HcgNet:
    """Return HCGNet-A3 for 32x32 images: 11,239,897 parameters for ten classes, 1,956.3 million multiply-adds."""
    return hcgnet(num_classes, in_channels, (36, 48, 80), (12, 12, 12), generator=generator)


def hcgnet_b(num_classes: int = 1000, in_channels: int = 3, generator: torch.Generator | None = None) -> HcgNet:
    """Return HCGNet-B for 224x224 images: 12,845,501 parameters, 2,002.8 million multiply-adds."""
    return fresh(lambda: HcgNet((32, 48, 64, 96), (3, 6, 12, 8), num_classes, in_channels, image_stem=True), generator)


def hcgnet_c(num_classes: int = 1000, in_channels: int = 3, generator: torch.Generator | None = None) -> HcgNet:
    """Return HCGNet-C for 224x224 images: 42,153,208 parameters, 6,971.6 million multiply-adds."""
    return fresh(lambda: HcgNet((48, 56, 72, 112), (6, 12, 18, 14), num_classes, in_channels, image_stem=True), generator)
