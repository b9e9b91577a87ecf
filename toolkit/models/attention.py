"""Attention over channels as units to put into any network: squeeze-and-excitation and selective kernels.

Source: Hu, Shen, Sun 2018, *Squeeze-and-Excitation Networks* (reduction 16, biases in both layers); Li, Wang, Hu, Yang 2019, *Selective
Kernel Networks* (a 3x3 branch and one of 5x5 given by dilation, grouped, with reduction 16 and no fewer than 32 hidden units). Departures:
the least hidden size is an argument, since 32 units would outweigh the small networks here.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class SqueezeExcitation(nn.Module):
    """Maps times sigmoid(W2 relu(W1 mean)); 2 C h + C + h parameters with h = max(C / reduction, least_hidden)."""

    def __init__(self, channels: int, reduction: int = 16, least_hidden: int = 1) -> None:
        super().__init__()
        hidden = max(channels // reduction, least_hidden)
        self.squeeze = nn.Linear(channels, hidden)
        self.excite = nn.Linear(hidden, channels)

    def forward(self, maps: Tensor) -> Tensor:
        pooled = functional.adaptive_avg_pool2d(maps, 1).flatten(1)
        shares = torch.sigmoid(self.excite(functional.relu(self.squeeze(pooled))))
        return maps * shares[:, :, None, None]


class SelectiveKernel(nn.Module):
    """Two convolutions of the same maps, summed with shares that a softmax over the two gives each channel; the maps are kept.

    Each branch is convolution, BatchNorm, ReLU; the second is dilated by 2. *groups* of the convolutions is made a divisor of both
    channel numbers.
    """

    def __init__(
        self, inputs: int, outputs: int, stride: int = 1, groups: int = 32, reduction: int = 16, least_hidden: int = 1
    ) -> None:
        super().__init__()
        groups = math.gcd(math.gcd(inputs, outputs), groups)
        hidden = max(outputs // reduction, least_hidden)
        self.near = nn.Conv2d(inputs, outputs, 3, stride, padding=1, groups=groups, bias=False)
        self.near_norm = nn.BatchNorm2d(outputs)
        self.far = nn.Conv2d(inputs, outputs, 3, stride, padding=2, dilation=2, groups=groups, bias=False)
        self.far_norm = nn.BatchNorm2d(outputs)
        self.squeeze = nn.Linear(outputs, hidden, bias=False)
        self.norm = nn.BatchNorm1d(hidden)
        self.select = nn.Linear(hidden, 2 * outputs)

    def forward(self, maps: Tensor) -> Tensor:
        near = functional.relu(self.near_norm(self.near(maps)))
        far = functional.relu(self.far_norm(self.far(maps)))
        pooled = functional.adaptive_avg_pool2d(near + far, 1).flatten(1)
        logits = self.select(functional.relu(self.norm(self.squeeze(pooled))))
        shares = logits.view(len(logits), 2, -1).softmax(1)[..., None, None]
        attended: Tensor = near * shares[:, 0] + far * shares[:, 1]
        return attended
