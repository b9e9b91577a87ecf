"""VGG-16 for 32x32 images.

Source: Simonyan and Zisserman 2015, configuration D: thirteen 3x3 convolutions, a 2x2 pooling after every stage. For 32x32 images five
poolings leave one pixel of 512 channels, and a linear classifier follows. The code of gTop-k (Shi et al. 2019) uses this layout with
BatchNorm and with biases in the convolutions: 14,728,266 parameters for ten classes, the default here. Its tables say 14.98 million,
which that layout is not; the same convolutions without BatchNorm and with one hidden layer of 512 have 14,982,474. That is arithmetic,
not something their code says: `vgg16(batch_norm=False, hidden=512)` builds it for whoever wants to price the tables' size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from toolkit.models import ModelError, fresh

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class Vgg16(nn.Module):
    """Thirteen convolutions, optionally normalised, and a classifier with an optional hidden layer of *hidden* units."""

    def __init__(self, num_classes: int, in_channels: int, batch_norm: bool, hidden: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = in_channels
        for stage in STAGES:
            for outputs in stage:
                layers.append(nn.Conv2d(inputs, outputs, 3, padding=1))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(outputs))
                layers.append(nn.ReLU(inplace=True))
                inputs = outputs
            layers.append(nn.MaxPool2d(2))
        self.convolutions = nn.Sequential(*layers)
        head: list[nn.Module] = [nn.Linear(inputs, hidden), nn.ReLU(inplace=True)] if hidden else []
        self.classifier = nn.Sequential(*head, nn.Linear(hidden or inputs, num_classes))

    def forward(self, images: Tensor) -> Tensor:
        """Return scores (batch, classes) of images (batch, channels, 32, 32)."""
        if not all(32 <= side < 64 for side in images.shape[-2:]):
            size = f"{images.shape[-2]}x{images.shape[-1]}"
            raise ModelError(f"vgg16: five poolings must leave one pixel, so images have sides of 32 to 63, got {size}")
        scores: Tensor = self.classifier(self.convolutions(images).flatten(1))
        return scores


def vgg16(
    num_classes: int = 10, in_channels: int = 3, batch_norm: bool = True, hidden: int = 0, generator: torch.Generator | None = None
) -> Vgg16:
    """Return VGG-16 for 32x32 images: 14,728,266 parameters for ten classes."""
    return fresh(lambda: Vgg16(num_classes, in_channels, batch_norm, hidden), generator, "he")
