"""CondenseNet: dense connections whose 1x1 convolutions learn, while they train, which inputs each group of filters needs.

Source: Huang, Liu, van der Maaten, Weinberger 2018, *CondenseNet: An Efficient DenseNet using Learned Group Convolutions*: G groups of
filters; in each of C - 1 condensing stages, which take up the first half of training, every group loses another C-th of the inputs, those
whose weights have the smallest mean magnitude in the group; then index and grouped convolution do the same work. Growth doubles from block
to block, transitions are means over 2x2. Departures: no dropout between norm and convolution; the group lasso, which the loss must take in,
is `penalty`; the classifier stays dense.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from toolkit.models import ModelError, fresh
from toolkit.models.evolving import Evolving


class LearnedGroupConv(nn.Conv2d):
    """A 1x1 convolution that is dense at first and keeps, in the end, `inputs / condensation` inputs for each of its groups of filters.

    Filter o belongs to group o mod groups, so that the 3x3 convolution that follows, grouped in order of the filters, mixes all groups.
    """

    mask: Tensor

    def __init__(self, inputs: int, outputs: int, groups: int, condensation: int) -> None:
        super().__init__(inputs, outputs, 1, bias=False)
        if outputs % groups or inputs % condensation:
            raise ModelError(
                f"condensenet: {outputs} filters of {inputs} channels cannot be cut into {groups} groups and {condensation} equal parts"
            )
        self.filter_groups, self.condensation, self.stage = groups, condensation, 0
        self.register_buffer("mask", torch.ones(outputs, inputs, 1, 1))

    def forward(self, maps: Tensor) -> Tensor:
        return functional.conv2d(maps, self.weight * self.mask if self.stage else self.weight)

    @torch.no_grad()
    def advance(self, progress: float) -> None:
        """Drop what is due when *progress* (0 to 1) of the training is over: the last inputs go when half of it is."""
        due = min(self.condensation - 1, int(2 * progress * (self.condensation - 1)))
        while self.stage < due:
            self.stage += 1
            kept = self.in_channels - self.stage * (self.in_channels // self.condensation)
            places = self._magnitudes().topk(kept, dim=1, sorted=False).indices
            by_group = torch.zeros(self.filter_groups, self.in_channels, device=self.mask.device, dtype=self.mask.dtype)
            by_group.scatter_(1, places, 1.0)
            self.mask.copy_(by_group.repeat(self.out_channels // self.filter_groups, 1)[:, :, None, None])

    def resume(self) -> None:
        """Go on from the stage that the mask shows."""
        dropped = int((self.mask[0] == 0).sum())
        self.stage = dropped // (self.in_channels // self.condensation)

    def _magnitudes(self) -> Tensor:
        """Mean magnitude of the weights (groups, inputs) from each input to each group; below all others where already dropped."""
        size = self.out_channels // self.filter_groups
        weights = self.weight.abs().view(size, self.filter_groups, self.in_channels).mean(0)
        return weights.masked_fill(self.mask.view(size, self.filter_groups, self.in_channels)[0] == 0, -1.0)

    def lasso(self) -> Tensor:
        """Sum over groups and inputs of the root mean square weight, which pushes a group to give up an input wholly."""
        size = self.out_channels // self.filter_groups
        squares = (self.weight * self.mask).view(size, self.filter_groups, self.in_channels).square().mean(0)
        return (squares + EPSILON).sqrt().sum()

    @torch.no_grad()
    def condensed(self) -> CondensedConv:
        """Return the index and grouped convolution that do the same.

        Raises:
            ModelError: condensing is not over.
        """
        if self.stage < self.condensation - 1:
            raise ModelError(f"condensenet: condensing is in stage {self.stage} of {self.condensation - 1}; advance(1.0) finishes it")
        size = self.out_channels // self.filter_groups
        kept = self.mask.view(size, self.filter_groups, self.in_channels)[0].nonzero()[:, 1].view(self.filter_groups, -1)
        weights = self.weight.view(size, self.filter_groups, self.in_channels)
        chosen = torch.stack([weights[:, group, places] for group, places in enumerate(kept)])
        new = CondensedConv(kept.numel(), self.out_channels, self.filter_groups).to(self.weight)
        new.index = kept.flatten()
        new.conv.weight.copy_(chosen.reshape(self.out_channels, -1, 1, 1))
        return new


EPSILON = 1e-12


class CondensedConv(nn.Module):
    """What a `LearnedGroupConv` becomes: channels picked by an index, a grouped 1x1 convolution, and the filters back in their order."""

    index: Tensor

    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.register_buffer("index", torch.zeros(inputs, dtype=torch.int64))
        self.conv = nn.Conv2d(inputs, outputs, 1, groups=groups, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        by_group = self.conv(maps.index_select(1, self.index))
        batch, _, height, width = by_group.shape
        shuffled: Tensor = by_group.view(batch, self.groups, -1, height, width).transpose(1, 2).reshape_as(by_group)
        return shuffled


class CondenseLayer(nn.Module):
    """Norm, ReLU, learned group 1x1 to four times the growth; norm, ReLU, grouped 3x3; behind the maps that came in."""

    def __init__(self, inputs: int, growth: int, groups: int, condensation: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1: nn.Module = LearnedGroupConv(inputs, 4 * growth, groups, condensation)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, groups=groups, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        squeezed = self.conv1(functional.relu(self.norm1(maps)))
        return torch.cat((maps, self.conv2(functional.relu(self.norm2(squeezed)))), 1)


@final
class CondenseNet(Evolving):
    """Blocks of `blocks[i]` layers with growth `growth[i]`, a mean over 2x2 between blocks."""

    def __init__(
        self, blocks: Sequence[int], growth: Sequence[int], groups: int, condensation: int, num_classes: int, in_channels: int
    ) -> None:
        super().__init__()
        if len(blocks) != len(growth) or not blocks or min(blocks) < 1:
            raise ModelError(f"condensenet: blocks and growth need one positive number per block, got {list(blocks)} and {list(growth)}")
        channels = 2 * growth[0]
        layers: list[nn.Module] = [nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)]
        for place, (count, new) in enumerate(zip(blocks, growth, strict=True)):
            if place:
                layers.append(nn.AvgPool2d(2))
            for _ in range(count):
                layers.append(CondenseLayer(channels, new, groups, condensation))
                channels += new
        self.layers = nn.Sequential(*layers)
        self.norm = nn.BatchNorm2d(channels)
        self.feature_size = channels
        self.classifier = nn.Linear(channels, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """Return the pooled features (batch, feature_size)."""
        maps = functional.relu(self.norm(self.layers(images)))
        return functional.adaptive_avg_pool2d(maps, 1).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Return scores (batch, classes) of images (batch, channels, height, width)."""
        scores: Tensor = self.classifier(self.features(images))
        return scores

    def learned(self) -> list[LearnedGroupConv]:
        """Return the layers that condense."""
        return [module for module in self.modules() if isinstance(module, LearnedGroupConv)]

    def advance(self, progress: float) -> None:
        """Tell every layer what share of the training is over; it drops inputs when they are due."""
        for layer in self.learned():
            layer.advance(progress)

    def penalty(self) -> Tensor:
        """Return the group lasso of all layers; the source weighs it with 1e-5 on CIFAR."""
        return torch.stack([layer.lasso() for layer in self.learned()]).sum()

    def resume(self) -> None:
        for layer in self.learned():
            layer.resume()

    def finish(self) -> None:
        self.advance(1.0)
        self.condense()

    def condense(self) -> None:
        """Put condensed convolutions in the place of the learned ones, which must have finished."""
        for layer in self.layers:
            if isinstance(layer, CondenseLayer) and isinstance(layer.conv1, LearnedGroupConv):
                layer.conv1 = layer.conv1.condensed()


def condensenet(
    num_classes: int = 10, in_channels: int = 3, growth: Sequence[int] = (8, 16, 32), blocks: Sequence[int] = (14, 14, 14),
    groups: int = 4, condensation: int = 4, generator: torch.Generator | None = None,
) -> CondenseNet:
    """Return the network before condensing; the defaults are the sizes of CondenseNet-86."""
    model = fresh(lambda: CondenseNet(blocks, growth, groups, condensation, num_classes, in_channels), generator, "he")
    for layer in model.learned():
        layer.mask.fill_(1.0)
    return model
