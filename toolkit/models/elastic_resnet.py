"""ResNets whose leading channels are networks of their own: one set of weights, many sizes.

A configuration gives every stage a width and every block an inner width (`expand`), both as places in a list of ratios. A subnet takes the
first channels of each layer, so smaller ones lie inside larger ones and all train the same weights. With the last ratios, 1, it is the
`toolkit.models.resnet.ResNet` that it was made from, bit for bit.

Source: the elastic ResNet-18 of E2Net (Liu et al. 2023) after Once-for-All (Cai et al., ICLR 2020). Depth and kernels are not elastic, and
subnets share BatchNorm's vectors with the whole. Departures: parameters and multiply-adds are closed forms, so that a search copies no
weights; a subnet in training uses the statistics of its batch and leaves the running ones, which are those of the whole, as they are.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from toolkit.core.work import padded
from toolkit.models import ModelError
from toolkit.models.resnet import BasicBlock, ResNet

TENTHS = tuple(step / 10 for step in range(1, 11))
"""Ratios for CIFAR-10 in the published code."""
TWENTIETHS = (*(step / 20 for step in range(1, 19)), 1.0)
"""Ratios for CIFAR-100 and Tiny-ImageNet in the published code: 0.95 is not among them."""


@dataclass(frozen=True)
class Configuration:
    """Places in the list of ratios."""

    widths: tuple[int, ...]
    """One for each stage; the stem has the width of the first."""
    expands: tuple[int, ...]
    """One for each block."""

    def within(self, other: Configuration) -> bool:
        """Whether this subnet lies inside the *other*."""
        return all(ours <= theirs for ours, theirs in zip(self.widths + self.expands, other.widths + other.expands, strict=True))


class SubnetCosts(NamedTuple):
    """What a subnet takes."""

    parameters: int
    multiply_adds: int
    """Of one image."""
    share: float
    """Its parameters over those of the whole."""


class ElasticLayer(NamedTuple):
    """A convolution of a subnet."""

    kind: Literal["stem", "inner", "outer", "shortcut"]
    inputs: int
    outputs: int
    side: int
    """Of its kernel."""
    input_sites: int
    sites: int
    """Of its result."""

    @property
    def weights(self) -> int:
        return self.side * self.side * self.inputs * self.outputs


@dataclass(frozen=True)
class Space:
    """All configurations of a network, and what each of them costs, in closed form."""

    blocks: tuple[int, ...]
    """Blocks of each stage."""
    channels: tuple[int, ...]
    """Full width of each stage."""
    in_channels: int
    num_classes: int
    ratios: tuple[float, ...] = TENTHS
    """Rising, the last one 1."""
    unit: int = 8
    """Widths are multiples of this."""

    def __post_init__(self) -> None:
        if not self.ratios or list(self.ratios) != sorted(set(self.ratios)) or self.ratios[0] <= 0 or self.ratios[-1] != 1:
            raise ModelError(f"elastic resnet: ratios rise from above 0 to 1, got {list(self.ratios)}")
        if any(width % self.unit for width in self.channels):
            raise ModelError(f"elastic resnet: widths {list(self.channels)} are not multiples of the unit {self.unit}")

    @property
    def full(self) -> Configuration:
        last = len(self.ratios) - 1
        return Configuration((last,) * len(self.blocks), (last,) * sum(self.blocks))

    def rounded(self, width: float) -> int:
        """Return the multiple of `unit` nearest to *width*, at least one unit, and one more where rounding lost over a tenth."""
        return _rounded(width, self.unit)

    def widths(self, config: Configuration) -> tuple[list[int], list[int]]:
        """Return the channels of each stage and the inner channels of each block."""
        outer = [self.rounded(full * self.ratios[place]) for full, place in zip(self.channels, config.widths, strict=True)]
        of_block = [width for width, count in zip(outer, self.blocks, strict=True) for _ in range(count)]
        inner = [self.rounded(width * self.ratios[place]) for width, place in zip(of_block, config.expands, strict=True)]
        return outer, inner

    def layers(self, config: Configuration, height: int, width: int) -> list[ElasticLayer]:
        """Return every convolution for an image of *height* x *width*."""
        outer, inner = self.widths(config)
        found = [ElasticLayer("stem", self.in_channels, outer[0], 3, height * width, height * width)]
        inputs, block = outer[0], 0
        for stage, count in enumerate(self.blocks):
            for place in range(count):
                halves, before = stage > 0 and place == 0, height * width
                if halves:
                    height, width = (height + 1) // 2, (width + 1) // 2
                middle, outputs, sites = inner[block], outer[stage], height * width
                found += [ElasticLayer("inner", inputs, middle, 3, before, sites), ElasticLayer("outer", middle, outputs, 3, sites, sites)]
                if halves:
                    found.append(ElasticLayer("shortcut", inputs, outputs, 1, before, sites))
                inputs, block = outputs, block + 1
        return found

    def parameters(self, config: Configuration) -> int:
        """Return the parameters of a subnet: 9 C c + 2 c for the stem, 9 i m + 2 m + 9 m o + 2 o for a block, i o + 2 o for a shortcut."""
        size = self.widths(config)[0][-1]
        return sum(layer.weights + 2 * layer.outputs for layer in self.layers(config, 1, 1)) + (size + 1) * self.num_classes

    def share(self, config: Configuration) -> float:
        """Return rho, the parameters over those of the whole."""
        return self.parameters(config) / self._whole

    @cached_property
    def _whole(self) -> int:
        return self.parameters(self.full)

    def multiply_adds(self, config: Configuration, height: int, width: int) -> int:
        """Return the multiply-adds of one image."""
        size = self.widths(config)[0][-1]
        return sum(layer.weights * layer.sites for layer in self.layers(config, height, width)) + size * self.num_classes

    def costs(self, config: Configuration, height: int, width: int) -> SubnetCosts:
        """Return what a subnet takes for images of *height* x *width*."""
        return SubnetCosts(self.parameters(config), self.multiply_adds(config, height, width), self.share(config))

    def inference_work(self, config: Configuration, count: int, height: int, width: int) -> tuple[int, ...]:
        """Return the fields of `toolkit.core.work.Work` for the subnet's scores of *count* images in eval mode.

        What `toolkit.learning.work` counts, without running anything.
        """
        flops = read = write = convolutions = convolved = rounded = 0
        kernels = 2  # the mean and the classifier
        size, last = self.widths(config)[0][-1], 0
        for layer in self.layers(config, height, width):
            result = count * layer.outputs * layer.sites
            products = 2 * count * layer.weights * layer.sites
            convolutions, convolved = convolutions + 1, convolved + products
            rounded += products * padded(layer.inputs) * padded(layer.outputs) // (layer.inputs * layer.outputs)
            flops += products + 2 * result
            read += count * layer.inputs * layer.input_sites + layer.weights + result + 4 * layer.outputs
            write += 2 * result + 2 * layer.outputs  # mean and deviation are written too
            kernels += {"stem": 3, "inner": 3, "outer": 4, "shortcut": 2}[layer.kind]
            if layer.kind == "outer":  # the sum with the shortcut, and ReLU
                flops, read, write, last = flops + 2 * result, read + 3 * result, write + 2 * result, result
            elif layer.kind != "shortcut":
                flops, read, write = flops + result, read + result, write + result
        scores = count * self.num_classes
        flops += last + 2 * size * scores + scores
        read += last + count * size + (size + 1) * self.num_classes
        write += count * size + scores
        return flops, 4 * read, 4 * write, kernels, convolutions, convolved, rounded - convolved, 2 * size * scores

    def at_most(self, cap: int) -> Configuration:
        """Return the largest configuration under a stage *cap*, of the first *cap* ratios."""
        top = min(cap, len(self.ratios)) - 1
        return Configuration((top,) * len(self.blocks), (top,) * sum(self.blocks))

    def sample(self, count: int, cap: int, at_least: Configuration | None, generator: torch.Generator) -> list[Configuration]:
        """Return *count* configurations drawn uniformly from the first *cap* ratios, none smaller anywhere than *at_least*.

        A *cap* beyond the list pins `expands` to the last ratio, as the published code does; only widths vary then.
        """
        stages, top = len(self.blocks), min(cap, len(self.ratios))
        lowest = torch.zeros(stages + sum(self.blocks)) if at_least is None else torch.tensor([*at_least.widths, *at_least.expands]).float()
        if cap > len(self.ratios):
            lowest[stages:] = top - 1
        span = (top - lowest).clamp_min(1)
        drawn = (lowest + (torch.rand((count, len(lowest)), generator=generator) * span).floor()).long().tolist()
        return [Configuration(tuple(row[:stages]), tuple(row[stages:])) for row in drawn]


@cache
def _rounded(width: float, unit: int) -> int:
    width = round(width, 6)  # 0.7 x 360 is 252, not 251.99999999999997
    found = max(unit, int(width + unit / 2) // unit * unit)
    return found + unit if found < 0.9 * width else found


class ElasticResNet(nn.Module):
    """A ResNet and all its subnets. *plain* is kept, not copied."""

    def __init__(self, plain: ResNet, ratios: tuple[float, ...] = TENTHS, unit: int = 8) -> None:
        super().__init__()
        self.plain = plain
        counts = tuple(sum(1 for _ in stage.children()) for stage in plain.stages)
        channels = tuple(plain.conv.out_channels << stage for stage in range(len(counts)))
        self.space = Space(counts, channels, plain.conv.in_channels, plain.classifier.out_features, ratios, unit)
        self.subnet_bn: Literal["batch", "official"] = "batch"
        """What BatchNorm of a subnet does in training: ``official`` moves the running statistics that the whole uses."""

    @property
    def classifier(self) -> nn.Linear:
        return self.plain.classifier

    @property
    def blocks(self) -> list[BasicBlock]:
        return blocks_of(self.plain)

    def features(self, images: Tensor, config: Configuration | None = None) -> Tensor:
        """Return the pooled features of the whole network, or of a subnet."""
        if config is None:
            return self.plain.features(images)
        outer, inner = self.space.widths(config)
        of_block = [width for width, count in zip(outer, self.space.blocks, strict=True) for _ in range(count)]
        maps = functional.relu(self._norm(self.plain.bn, _sliced(self.plain.conv, images, outer[0])))
        for block, middle, outputs in zip(self.blocks, inner, of_block, strict=True):
            within = functional.relu(self._norm(block.bn1, _sliced(block.conv1, maps, middle)))
            within = self._norm(block.bn2, _sliced(block.conv2, within, outputs))
            for convolution, norm in shortcut_of(block):
                maps = self._norm(norm, _sliced(convolution, maps, outputs))
            maps = functional.relu(within + maps)
        return functional.adaptive_avg_pool2d(maps, 1).flatten(1)

    def classify(self, features: Tensor) -> Tensor:
        """Return the scores of all classes from the features of the whole or of a subnet."""
        return functional.linear(features, self.classifier.weight[:, : features.shape[1]], self.classifier.bias)

    def forward(self, images: Tensor, config: Configuration | None = None) -> Tensor:
        """Return the scores of the whole network, or of a subnet."""
        if config is None:
            scores: Tensor = self.plain(images)
            return scores
        return self.classify(self.features(images, config))

    def _norm(self, norm: nn.BatchNorm2d, maps: Tensor) -> Tensor:
        size = maps.shape[1]
        weight, bias = norm.weight[:size], norm.bias[:size]
        if self.training and self.subnet_bn == "batch":
            return functional.batch_norm(maps, None, None, weight, bias, training=True, eps=norm.eps)
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None
        assert variance is not None
        return functional.batch_norm(maps, mean[:size], variance[:size], weight, bias, self.training, norm.momentum or 0.0, norm.eps)

    @torch.no_grad()
    def sort_channels(self) -> list[Tensor]:
        """Reorder the inner channels of every block by how much its second convolution makes of them (L1 norm), the largest first.

        The function of the whole network stays what it is; that of its subnets becomes better. Returns the orders, by which an
        optimiser with a state of its own must move that too.
        """
        orders = []
        for block in self.blocks:
            order = block.conv2.weight.abs().sum(dim=(0, 2, 3)).argsort(descending=True, stable=True)
            norm = block.bn1
            for vector in (block.conv1.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var):
                assert vector is not None
                vector.copy_(vector[order])
            block.conv2.weight.copy_(block.conv2.weight[:, order])
            orders.append(order)
        return orders

    @torch.no_grad()
    def export(self, config: Configuration) -> ResNet:
        """Return a subnet as a plain network with weights of its own."""
        outer, inner = self.space.widths(config)
        of_block = [width for width, count in zip(outer, self.space.blocks, strict=True) for _ in range(count)]
        found = copy.deepcopy(self.plain)
        _shrink(found.conv, found.bn, self.space.in_channels, outer[0])
        inputs = outer[0]
        for block, middle, outputs in zip(blocks_of(found), inner, of_block, strict=True):
            _shrink(block.conv1, block.bn1, inputs, middle)
            _shrink(block.conv2, block.bn2, middle, outputs)
            for convolution, norm in shortcut_of(block):
                _shrink(convolution, norm, inputs, outputs)
            inputs = outputs
        head = found.classifier
        head.weight = nn.Parameter(head.weight[:, :inputs].clone())
        head.in_features = found.feature_size = inputs
        return found

    @torch.no_grad()
    def recalibrate_bn(self, config: Configuration, batches: Iterable[Tensor]) -> ResNet:
        """Return a subnet as a plain network whose BatchNorm has statistics of its own: means over *batches* of images.

        The running statistics that it shares with the whole are those of the whole, and fit a small subnet badly.
        """
        found = self.export(config).train()
        norms = [layer for layer in found.modules() if isinstance(layer, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over batches
        for images in batches:
            found(images)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        return found.eval()


def blocks_of(plain: ResNet) -> list[BasicBlock]:
    """Return the blocks of all stages in order."""
    return [block for block in plain.stages.modules() if isinstance(block, BasicBlock)]


def shortcut_of(block: BasicBlock) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Return the convolution of a block's shortcut and its norm, if it has one."""
    layers = list(block.shortcut)
    return [(layers[0], layers[1])] if layers else []  # type: ignore[list-item]


def _sliced(convolution: nn.Conv2d, maps: Tensor, outputs: int) -> Tensor:
    """Convolve with the leading part of the weights."""
    return functional.conv2d(maps, convolution.weight[:outputs, : maps.shape[1]], None, convolution.stride, convolution.padding)


def _shrink(convolution: nn.Conv2d, norm: nn.BatchNorm2d, inputs: int, outputs: int) -> None:
    """Cut a convolution and its norm down to their leading parts."""
    convolution.weight = nn.Parameter(convolution.weight[:outputs, :inputs].clone())
    convolution.in_channels, convolution.out_channels = inputs, outputs
    norm.weight, norm.bias = nn.Parameter(norm.weight[:outputs].clone()), nn.Parameter(norm.bias[:outputs].clone())
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean, norm.running_var = norm.running_mean[:outputs].clone(), norm.running_var[:outputs].clone()
    norm.num_features = outputs
