"""DropBlock: in training, whole squares of the maps are set to zero.

Source: Ghiasi, Lin, Le 2018, in the form that HCGNet uses: seeds with rate p / size^2, each clearing the square of which it is the top left
corner, one mask for all channels of an image; what is left is scaled up by the share that was kept in the whole batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class DropBlock(nn.Module):
    """Does nothing until `probability` is set, which is what schedules do; draws from the `generator` that was set with it."""

    def __init__(self, size: int = 2) -> None:
        super().__init__()
        self.size = size
        self.probability = 0.0
        self.generator: torch.Generator | None = None

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps (batch, channels, height, width) with squares cleared, or as they are outside training.

        Raises:
            RuntimeError: there is a probability and no generator.
        """
        if not self.training or not self.probability:
            return maps
        if self.generator is None:
            raise RuntimeError("DropBlock: a probability was set without a generator to draw from")
        kept = keep_mask(maps, self.size, self.probability, self.generator)
        return maps * (kept * (kept.numel() / kept.sum().clamp(min=1.0))).unsqueeze(1)


def keep_mask(maps: Tensor, size: int, probability: float, generator: torch.Generator) -> Tensor:
    """Return 0 for the positions (batch, height, width) of *maps* that are cleared, and 1 for the others."""
    batch, _, height, width = maps.shape
    drawn = torch.rand(batch, height, width, generator=generator, device=generator.device).to(maps.device)
    seeds = (drawn < probability / size**2).to(maps.dtype).unsqueeze(1)
    cleared = functional.max_pool2d(functional.pad(seeds, (size - 1, 0, size - 1, 0)), size, stride=1)
    return 1 - cleared.squeeze(1)


def set_drop(model: nn.Module, probability: float, generator: torch.Generator | None) -> None:
    """Set what every `DropBlock` of *model* does in training from now on."""
    for module in model.modules():
        if isinstance(module, DropBlock):
            module.probability, module.generator = probability, generator
