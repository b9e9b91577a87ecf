"""The LeNets of the pruning literature: LeNet-5 in the layout of Caffe, the classic LeNet-5, and LeNet-300-100.

Source: LeCun et al. 1998 for the idea; the layout is that of Caffe's MNIST example (20 and 50 filters, 500 hidden units, the only
non-linearity besides pooling after the hidden layer). Departure: pooling does not round up, which makes no difference at 28x28. The
classic one (6, 16, 120, 84) is taken on 28x28 without padding, with ReLU and max-pooling, as later work does.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from toolkit.models import ModelError, fresh
from toolkit.models.mlp import Mlp

KERNEL = 5
SMALLEST_SIZE = 16


def _side(image_size: int, name: str) -> int:
    """Side of the maps after two 5x5 convolutions and poolings."""
    if image_size < SMALLEST_SIZE:
        raise ModelError(f"{name}: images of {image_size}x{image_size} are too small, two unpadded 5x5 convolutions need 16x16")
    return ((image_size - KERNEL + 1) // 2 - KERNEL + 1) // 2


def _check_size(images: Tensor, size: int, name: str) -> None:
    if images.shape[-2:] != (size, size):
        given = f"{images.shape[-2]}x{images.shape[-1]}"
        raise ModelError(f"{name}: built for images of {size}x{size}, got {given}; build it with image_size")


class LeNet5(nn.Module):
    """conv 20@5x5, pool 2, conv 50@5x5, pool 2, linear 500, ReLU, linear; parameters at 28x28 with one channel and ten classes: 431,080.

    With *batch_norm* each convolution is normalised, which adds two parameters a filter (network slimming needs it).
    """

    def __init__(
        self, num_classes: int, in_channels: int, image_size: int, filters: tuple[int, int], hidden: int, batch_norm: bool = False
    ) -> None:
        super().__init__()
        side = _side(image_size, "lenet5")
        self.image_size = image_size
        self.conv1 = nn.Conv2d(in_channels, filters[0], KERNEL)
        self.conv2 = nn.Conv2d(filters[0], filters[1], KERNEL)
        self.norm1: nn.Module = nn.BatchNorm2d(filters[0]) if batch_norm else nn.Identity()
        self.norm2: nn.Module = nn.BatchNorm2d(filters[1]) if batch_norm else nn.Identity()
        self.pool = nn.MaxPool2d(2)
        self.hidden = nn.Linear(filters[1] * side * side, hidden)
        self.relu = nn.ReLU()
        self.classifier = nn.Linear(hidden, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return scores (batch, classes) of images (batch, channels, size, size)."""
        _check_size(images, self.image_size, "lenet5")
        maps = self.pool(self.norm2(self.conv2(self.pool(self.norm1(self.conv1(images))))))
        scores: Tensor = self.classifier(self.relu(self.hidden(maps.flatten(1))))
        return scores


class ClassicLeNet5(nn.Module):
    """conv 6@5x5, ReLU, pool 2, conv 16@5x5, ReLU, pool 2, linear 120, 84, classes; 44,426 parameters at 28x28 and ten classes."""

    def __init__(self, num_classes: int, in_channels: int, image_size: int, filters: tuple[int, int], hidden: tuple[int, int]) -> None:
        super().__init__()
        side = _side(image_size, "lenet5_classic")
        self.image_size = image_size
        self.conv1 = nn.Conv2d(in_channels, filters[0], KERNEL)
        self.conv2 = nn.Conv2d(filters[0], filters[1], KERNEL)
        self.pool = nn.MaxPool2d(2)
        self.relu = nn.ReLU()
        self.hidden1 = nn.Linear(filters[1] * side * side, hidden[0])
        self.hidden2 = nn.Linear(hidden[0], hidden[1])
        self.classifier = nn.Linear(hidden[1], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return scores (batch, classes) of images (batch, channels, size, size)."""
        _check_size(images, self.image_size, "lenet5_classic")
        maps = self.pool(self.relu(self.conv2(self.pool(self.relu(self.conv1(images))))))
        scores: Tensor = self.classifier(self.relu(self.hidden2(self.relu(self.hidden1(maps.flatten(1))))))
        return scores


def lenet5(
    num_classes: int = 10, in_channels: int = 1, image_size: int = 28, filters: tuple[int, int] = (20, 50), hidden: int = 500,
    batch_norm: bool = False, generator: torch.Generator | None = None,
) -> LeNet5:
    """Return LeNet-5; *filters* and *hidden* give the smaller networks that pruning leaves: 26a + b(25a+1) + h(16b+11) + 10 parameters."""
    return fresh(lambda: LeNet5(num_classes, in_channels, image_size, (filters[0], filters[1]), hidden, batch_norm), generator, "xavier")


def lenet5_classic(
    num_classes: int = 10, in_channels: int = 1, image_size: int = 28, filters: tuple[int, int] = (6, 16),
    hidden: tuple[int, int] = (120, 84), generator: torch.Generator | None = None,
) -> ClassicLeNet5:
    """Return the classic LeNet-5 on 28x28 without padding: 44,426 parameters."""
    sizes = (filters[0], filters[1]), (hidden[0], hidden[1])
    return fresh(lambda: ClassicLeNet5(num_classes, in_channels, image_size, *sizes), generator, "he")


def lenet_300_100(num_classes: int = 10, in_channels: int = 1, image_size: int = 28, generator: torch.Generator | None = None) -> Mlp:
    """Return LeNet-300-100, two hidden layers: 266,610 parameters at 28x28."""
    return fresh(lambda: Mlp(num_classes, in_channels, image_size, (300, 100)), generator, "he")
