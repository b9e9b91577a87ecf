"""LeNet-5 in the layout of Caffe, the network of the pruning literature.

Source: LeCun et al. 1998 for the idea; the layout is that of Caffe's MNIST example (20 and 50 filters, 500 hidden units, the only
non-linearity besides pooling after the hidden layer). Departure: pooling does not round up, which makes no difference at 28x28.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from toolkit.models import ModelError, fresh

KERNEL = 5
SMALLEST_SIZE = 16


class LeNet5(nn.Module):
    """conv 20@5x5, pool 2, conv 50@5x5, pool 2, linear 500, ReLU, linear; parameters at 28x28 with one channel and ten classes: 431,080."""

    def __init__(self, num_classes: int, in_channels: int, image_size: int, filters: tuple[int, int], hidden: int) -> None:
        super().__init__()
        if image_size < SMALLEST_SIZE:
            raise ModelError(f"lenet5: images of {image_size}x{image_size} are too small, two unpadded 5x5 convolutions need 16x16")
        side = ((image_size - KERNEL + 1) // 2 - KERNEL + 1) // 2
        self.image_size = image_size
        self.conv1 = nn.Conv2d(in_channels, filters[0], KERNEL)
        self.conv2 = nn.Conv2d(filters[0], filters[1], KERNEL)
        self.pool = nn.MaxPool2d(2)
        self.hidden = nn.Linear(filters[1] * side * side, hidden)
        self.relu = nn.ReLU()
        self.classifier = nn.Linear(hidden, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return scores (batch, classes) of images (batch, channels, size, size)."""
        if images.shape[-2:] != (self.image_size, self.image_size):
            raise ModelError(
                f"lenet5: built for images of {self.image_size}x{self.image_size}, got {images.shape[-2]}x{images.shape[-1]}; "
                "build it with image_size"
            )
        maps = self.pool(self.conv2(self.pool(self.conv1(images))))
        scores: Tensor = self.classifier(self.relu(self.hidden(maps.flatten(1))))
        return scores


def lenet5(
    num_classes: int = 10, in_channels: int = 1, image_size: int = 28, filters: tuple[int, int] = (20, 50), hidden: int = 500,
    generator: torch.Generator | None = None,
) -> LeNet5:
    """Return LeNet-5; *filters* and *hidden* give the smaller networks that pruning leaves: 26a + b(25a+1) + h(16b+11) + 10 parameters."""
    return fresh(lambda: LeNet5(num_classes, in_channels, image_size, (filters[0], filters[1]), hidden), generator, "xavier")
