"""Networks and masks for the tests of pruning."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from toolkit.learning.pruning.groups import Groups, Mask


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def lived_in(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give BatchNorm statistics and scales that are not those of a new network, so that mistakes with them show."""
    generator = seeded(seed)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
            with torch.no_grad():
                module.weight.normal_(generator=generator)
                module.bias.normal_(generator=generator)
    return model.eval()


def random_mask(groups: Groups, rng: np.random.Generator, one_left: bool = False) -> Mask:
    """A random mask of random density; with *one_left* a single unit in every group."""
    mask = np.zeros(groups.units, bool) if one_left else rng.random(groups.units) < rng.uniform(0.05, 0.95)
    for group in groups.groups:
        if not mask[group.part].any():
            mask[group.start + rng.integers(group.size)] = True
    return mask


class Sides(nn.Module):
    """A stem of one channel, a depthwise convolution, two ways that are strung together, one of them gated, and a flatten."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.depthwise = nn.Conv2d(6, 12, 3, padding=1, groups=6)
        self.left = nn.Conv2d(12, 5, 1)
        self.right = nn.Conv2d(12, 4, 3, padding=1, bias=False)
        self.gate = nn.Conv2d(12, 4, 1)
        self.narrow = nn.Conv2d(9, 1, 1)
        self.wide = nn.Conv2d(1, 3, 3, padding=1)
        self.head = nn.Linear(3 * 16, 10)

    def forward(self, images: Tensor) -> Tensor:
        maps = functional.relu(self.depthwise(functional.relu(self.norm(self.stem(images)))))
        joined = torch.cat([self.left(maps), self.right(maps) * torch.sigmoid(self.gate(maps))], dim=1)
        maps = functional.max_pool2d(self.wide(functional.relu(self.narrow(joined))), 2)
        scores: Tensor = self.head(maps.flatten(1))
        return scores


class Viewed(nn.Module):
    """A chain whose maps are laid out by *view*, as most code on the web does it, one way or another."""

    def __init__(self, view: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.view = view
        self.conv1 = nn.Conv2d(1, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 8, 3, padding=1)
        self.hidden = nn.Linear(8 * 16, 12)
        self.head = nn.Linear(12, 10)

    def forward(self, images: Tensor) -> Tensor:
        maps = functional.relu(self.conv2(functional.max_pool2d(functional.relu(self.conv1(images)), 2)))
        scores: Tensor = self.head(functional.relu(self.hidden(self.view(maps))))
        return scores


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "flatten": lambda maps: maps.flatten(1),
    "view by size(0)": lambda maps: maps.view(maps.size(0), -1),
    "view by shape[0]": lambda maps: maps.view(maps.shape[0], -1),
    "view by a tuple": lambda maps: maps.view((len(maps), -1)),
    "reshape": lambda maps: torch.reshape(maps, (maps.size(0), -1)),
    "features by number": lambda maps: maps.view(-1, 8 * 16),
    "both by number": lambda maps: maps.view(maps.size(0), 8 * 16),
    "by rows": lambda maps: maps.reshape(maps.size(0) * 8, 16).view(maps.size(0), 128),
}
KEEPING = ("features by number", "both by number", "by rows")
"""Views that hold for a network of all channels alone: conv2 keeps them."""


class Grouped(nn.Module):
    """Grouped convolutions after each other, the second with more outputs, beside a sum; slopes per channel and one for all."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12)
        self.grouped, self.slopes = nn.Conv2d(12, 12, 3, padding=1, groups=3), nn.PReLU(12)
        self.wider, self.slope = nn.Conv2d(12, 24, 3, padding=1, groups=3), nn.PReLU()
        self.head = nn.Linear(24, 10)

    def forward(self, images: Tensor) -> Tensor:
        maps = functional.relu(self.norm(self.first(images)))
        maps = maps + self.slopes(self.grouped(maps))
        return self.head(self.slope(self.wider(maps)).mean((2, 3)))


class Repeated(nn.Module):
    """One convolution used three times, with another one's answer added."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.other, self.head = nn.Conv2d(8, 8, 1), nn.Linear(8, 10)

    def forward(self, images: Tensor) -> Tensor:
        maps = functional.relu(self.first(images))
        for _ in range(3):
            maps = functional.relu(self.again(maps))
        return self.head((maps + self.other(maps)).mean((2, 3)))


class Along(nn.Module):
    """Convolutions of one dimension, or of three, and a mean over what is flattened behind the channels."""

    def __init__(self, conv: type[nn.Conv1d | nn.Conv3d], norm: type[nn.BatchNorm1d | nn.BatchNorm3d]) -> None:
        super().__init__()
        self.one, self.norm, self.two = conv(2, 6, 3, padding=1), norm(6), conv(6, 8, 3, padding=1, stride=2)
        self.head = nn.Linear(8, 10)

    def forward(self, series: Tensor) -> Tensor:
        maps = functional.relu(self.norm(self.one(series)))
        return self.head(functional.relu(self.two(maps)).flatten(2).mean(2))
