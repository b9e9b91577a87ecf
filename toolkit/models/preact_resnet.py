"""Residual networks in pre-activation order, plain or with attention in every block.

Source: He, Zhang, Ren, Sun 2016, *Identity Mappings in Deep Residual Networks*: BatchNorm and ReLU before each convolution, the identity
untouched, a last BatchNorm and ReLU before pooling. Where the shape changes, the shortcut is a 1x1 convolution of the first activation.
Squeeze-and-excitation stands at the end of the inner path; a selective kernel takes the place of the second 3x3 convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from toolkit.models import ModelError, fresh
from toolkit.models.attention import SelectiveKernel, SqueezeExcitation

Attention = Literal["none", "se", "sk"]


class PreActBlock(nn.Module):
    """Norm, ReLU, 3x3, norm, ReLU, 3x3 (or a selective kernel) around a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, attention: Attention, reduction: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2: nn.Module = (
            SelectiveKernel(outputs, outputs, reduction=reduction) if attention == "sk"
            else nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        )
        self.attention: nn.Module = SqueezeExcitation(outputs, reduction) if attention == "se" else nn.Identity()
        changes = stride != 1 or inputs != outputs
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if changes else None

    def forward(self, maps: Tensor) -> Tensor:
        active = functional.relu(self.norm1(maps))
        inner = self.attention(self.conv2(functional.relu(self.norm2(self.conv1(active)))))
        summed: Tensor = inner + (maps if self.shortcut is None else self.shortcut(active))
        return summed


class PreActResNet(nn.Module):
    """A 3x3 stem and stages of `blocks[i]` blocks with `nf * widen * 2**i` channels; each stage but the first halves the map."""

    def __init__(
        self, blocks: Sequence[int], nf: int, num_classes: int, in_channels: int, stem: int | None = None, attention: Attention = "none",
        reduction: int = 16,
    ) -> None:
        super().__init__()
        if not blocks or min(blocks) < 1 or nf < 1:
            raise ModelError(f"preact_resnet: needs at least one block in every stage and one channel, got blocks {list(blocks)}, nf {nf}")
        if attention not in get_args(Attention):
            raise ModelError(f"preact_resnet: attention '{attention}' is unknown (known: {', '.join(get_args(Attention))})")
        inputs = nf if stem is None else stem
        self.conv = nn.Conv2d(in_channels, inputs, 3, padding=1, bias=False)
        layers: list[nn.Module] = []
        for stage, count in enumerate(blocks):
            outputs = nf << stage
            for place in range(count):
                layers.append(PreActBlock(inputs, outputs, 2 if stage and not place else 1, attention, reduction))
                inputs = outputs
        self.blocks = nn.Sequential(*layers)
        self.norm = nn.BatchNorm2d(inputs)
        self.feature_size = inputs
        self.classifier = nn.Linear(inputs, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """Return the pooled features (batch, feature_size)."""
        maps = functional.relu(self.norm(self.blocks(self.conv(images))))
        return functional.adaptive_avg_pool2d(maps, 1).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Return scores (batch, classes) of images (batch, channels, height, width)."""
        scores: Tensor = self.classifier(self.features(images))
        return scores


def preact_resnet(
    num_classes: int = 10, in_channels: int = 3, nf: int = 16, blocks: Sequence[int] = (1, 1, 1), attention: Attention = "none",
    reduction: int = 16, generator: torch.Generator | None = None,
) -> PreActResNet:
    """Return a network of any size; *attention* is `none`, `se` (squeeze-and-excitation) or `sk` (selective kernel)."""
    return fresh(lambda: PreActResNet(blocks, nf, num_classes, in_channels, attention=attention, reduction=reduction), generator, "he")


def preact_resnet18(num_classes: int = 10, in_channels: int = 3, generator: torch.Generator | None = None) -> PreActResNet:
    """Return PreActResNet-18 for 32x32 images: 11,172,170 parameters for ten classes."""
    return fresh(lambda: PreActResNet((2, 2, 2, 2), 64, num_classes, in_channels), generator, "he")
