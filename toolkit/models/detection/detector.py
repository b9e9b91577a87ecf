"""A detector of the Generalized Focal Loss kind: backbone, feature pyramid, a head shared by all levels.

Source: Li et al. 2020, *Generalized Focal Loss* (NeurIPS, arXiv 2006.04388). Each cell of each level has one square anchor; it says a score
per class and, for each side of a box, a distribution over the whole multiples 0 to `reg_max` of its stride, whose mean is the distance.
Departure: a cell's point is its middle, not its corner. The columns of the classifier that came with an increment are a convolution of
their own, so that widening the head leaves the old scores the same bit for bit, whatever kernels a library chooses.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from toolkit.models import ModelError, initialise
from toolkit.models.detection.backbones import Backbone, CompactBackbone, HcgBackbone, ResNetBackbone
from toolkit.models.detection.geometry import from_distances

PRIOR = 0.01
"""Score of every class before training."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Answer(NamedTuple):
    """What a detector says of images, at all cells of all levels, finest level first."""

    logits: Tensor
    """(b, cells, classes)."""
    bins: Tensor
    """(b, cells, 4, reg_max + 1) logits."""
    towers: list[Tensor]
    """Maps from which classes are read, per level."""
    pyramid: list[Tensor]
    """Maps of the feature pyramid, per level."""


class Cells(NamedTuple):
    """Where the cells of all levels are."""

    points: Tensor
    """(cells, 2) x, y."""
    strides: Tensor
    """(cells,)."""
    counts: tuple[int, ...]
    """Cells of each level."""


class FeaturePyramid(nn.Module):
    """Lin et al. 2017: maps of all levels in the same number of channels, coarser ones added to finer ones; `extra` levels on top."""

    def __init__(self, inputs: Sequence[int], channels: int, extra: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(each, channels, 1) for each in inputs)
        self.outputs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in inputs)
        self.extra = nn.ModuleList(nn.Conv2d(channels, channels, 3, 2, 1) for _ in range(extra))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        inner = [lateral(each) for lateral, each in zip(self.laterals, maps, strict=True)]
        for place in range(len(inner) - 2, -1, -1):
            inner[place] = inner[place] + functional.interpolate(inner[place + 1], size=inner[place].shape[2:], mode="nearest")
        found = [output(each) for output, each in zip(self.outputs, inner, strict=True)]
        for more in self.extra:
            found.append(more(found[-1]))
        return found


def _tower(channels: int, convs: int, groups: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(convs):
        layers += [nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.GroupNorm(groups, channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class Head(nn.Module):
    """Two towers, the classifiers of all increments, and the distributions of the four sides."""

    def __init__(self, channels: int, classes: int, *, reg_max: int, convs: int, groups: int, levels: int) -> None:
        super().__init__()
        self.classify_tower, self.side_tower = _tower(channels, convs, groups), _tower(channels, convs, groups)
        self.classifiers = nn.ModuleList([nn.Conv2d(channels, classes, 3, padding=1)])
        self.sides = nn.Conv2d(channels, 4 * (reg_max + 1), 3, padding=1)
        self.scales = nn.ParameterList(nn.Parameter(torch.ones(())) for _ in range(levels))

    @torch.no_grad()
    def draw(self, generator: torch.Generator) -> None:
        """Draw all weights: towers as He et al., what gives answers small, scores as rare as `PRIOR` says."""
        for tower in (self.classify_tower, self.side_tower):
            initialise(tower, generator, "he")
        for conv in (*self.classifiers, self.sides):
            draw_last(cast("nn.Conv2d", conv), generator, PRIOR if conv is not self.sides else 0.5)
        for scale in self.scales:
            scale.fill_(1.0)


@torch.no_grad()
def draw_last(conv: nn.Conv2d, generator: torch.Generator, prior: float) -> None:
    """Draw a last convolution: weights of deviation 0.01, a bias that gives the score *prior*."""
    conv.weight.normal_(0.0, 0.01, generator=generator)
    if conv.bias is not None:
        conv.bias.fill_(-math.log((1 - prior) / prior))


class Detector(nn.Module):
    """Finds objects in images (b, 3, height, width) with values from 0 to 1."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: Backbone, classes: int, *, channels: int, reg_max: int, anchor: float, convs: int, groups: int, extra: int
    ) -> None:
        super().__init__()
        if channels % groups:
            raise ModelError(f"detector: {channels} channels do not divide into {groups} groups")
        self.backbone = backbone
        self.pyramid = FeaturePyramid(backbone.channels, channels, extra)
        coarsest = backbone.strides[-1]
        self.strides = (*backbone.strides, *(coarsest * 2 ** (level + 1) for level in range(extra)))
        self.head = Head(channels, classes, reg_max=reg_max, convs=convs, groups=groups, levels=len(self.strides))
        self.reg_max, self.anchor = reg_max, anchor
        self.norms_frozen = False

    @property
    def classes(self) -> int:
        """How many classes it knows."""
        return sum(cast("nn.Conv2d", each).out_channels for each in self.head.classifiers)

    @property
    def newest(self) -> int:
        """How many of them came last."""
        return cast("nn.Conv2d", self.head.classifiers[-1]).out_channels

    def forward(self, images: Tensor) -> Answer:
        pyramid = self.pyramid(self.backbone((images - self.mean) / self.std))
        logits, bins, towers = [], [], []
        for maps, scale in zip(pyramid, self.head.scales, strict=True):
            tower = self.head.classify_tower(maps)
            towers.append(tower)
            answers = [classifier(tower) for classifier in self.head.classifiers]
            logits.append((torch.cat(answers, dim=1) if len(answers) > 1 else answers[0]).flatten(2).transpose(1, 2))
            sides = self.head.sides(self.head.side_tower(maps)) * scale
            bins.append(sides.flatten(2).transpose(1, 2).unflatten(2, (4, self.reg_max + 1)))
        return Answer(torch.cat(logits, dim=1), torch.cat(bins, dim=1), towers, pyramid)

    def cells(self, answer: Answer) -> Cells:
        """Return where the cells of *answer* are."""
        points, strides, counts = [], [], []
        device = answer.logits.device
        for maps, stride in zip(answer.pyramid, self.strides, strict=True):
            height, width = maps.shape[2:]
            rows = (torch.arange(height, device=device) + 0.5) * stride
            columns = (torch.arange(width, device=device) + 0.5) * stride
            points.append(torch.stack([columns.expand(height, width), rows.unsqueeze(1).expand(height, width)], dim=-1).reshape(-1, 2))
            strides.append(torch.full((height * width,), float(stride), device=device))
            counts.append(height * width)
        return Cells(torch.cat(points), torch.cat(strides), tuple(counts))

    def boxes(self, answer: Answer, cells: Cells) -> Tensor:
        """Return the boxes (b, cells, 4) that *answer* means: the mean of each side's distribution, in strides from the point."""
        steps = torch.arange(self.reg_max + 1, device=answer.bins.device, dtype=answer.bins.dtype)
        distances = (answer.bins.softmax(dim=-1) * steps).sum(dim=-1) * cells.strides.unsqueeze(-1)
        return from_distances(cells.points, distances)

    def train(self, mode: bool = True) -> Detector:
        """Set the mode; BatchNorm that is frozen stays with its statistics."""
        super().train(mode)
        if self.norms_frozen:
            for layer in self.batch_norms():
                layer.eval()
        return self

    def batch_norms(self) -> list[nn.BatchNorm2d]:
        """The BatchNorm layers, first to last."""
        return [layer for layer in self.modules() if isinstance(layer, nn.BatchNorm2d)]

    def freeze_norms(self) -> None:
        """Leave statistics, scales and shifts of all BatchNorm as they are from now on."""
        self.norms_frozen = True
        for layer in self.batch_norms():
            layer.eval().requires_grad_(False)

    def add_classes(self, count: int, generator: torch.Generator) -> None:
        """Widen the head by *count* classes; answers for the others stay the same bit for bit.

        Raises:
            ModelError: *count* is not positive.
        """
        if count < 1:
            raise ModelError(f"add_classes: {count} classes; there must be at least 1")
        first = cast("nn.Conv2d", self.head.classifiers[0])
        added = nn.Conv2d(first.in_channels, count, 3, padding=1, device="meta").to_empty(device=first.weight.device)
        draw_last(added, generator, PRIOR)
        self.head.classifiers.append(added)


def _drawn(make: Callable[[], Detector], generator: torch.Generator | None, mean: Sequence[float], std: Sequence[float]) -> Detector:
    """Return the detector that *make* builds, all of its weights from *generator*."""
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    with torch.device("meta"):
        found = make()
    found = found.to_empty(device=generator.device)
    initialise(found.backbone, generator, "he")
    initialise(found.pyramid, generator, "torch")
    found.head.draw(generator)
    for name, values in (("mean", mean), ("std", std)):
        found.register_buffer(name, torch.tensor(values, device=generator.device).view(1, -1, 1, 1))
    return found


def compact_gfl(
    classes: int = 10, widths: Sequence[int] = (16, 32, 64, 96), channels: int = 48, generator: torch.Generator | None = None
) -> Detector:
    """Return a detector for small machines: 0.320 million weights and 37.3 million multiply-adds at 96 x 96 for ten classes."""
    return _drawn(
        lambda: Detector(CompactBackbone(widths), classes, channels=channels, reg_max=8, anchor=4, convs=1, groups=8, extra=0),
        generator, (0.5,) * 3, (0.25,) * 3,
    )


def gfl_hcgnet(
    classes: int = 10, growth: Sequence[int] = (4, 8, 12), blocks: Sequence[int] = (2, 2, 2), channels: int = 48,
    generator: torch.Generator | None = None,
) -> Detector:
    """Return a small detector on HCGNet."""
    return _drawn(
        lambda: Detector(HcgBackbone(growth, blocks), classes, channels=channels, reg_max=8, anchor=4, convs=1, groups=8, extra=0),
        generator, (0.5,) * 3, (0.25,) * 3,
    )


def gfl_resnet50(
    classes: int = 80, blocks: Sequence[int] = (3, 4, 6, 3), width: int = 64, channels: int = 256, generator: torch.Generator | None = None
) -> Detector:
    """Return the detector of the papers: five levels of strides 8 to 128, towers of four convolutions, 17 bins."""
    return _drawn(
        lambda: Detector(ResNetBackbone(blocks, width), classes, channels=channels, reg_max=16, anchor=8, convs=4, groups=32, extra=2),
        generator, IMAGENET_MEAN, IMAGENET_STD,
    )


BUILDERS: dict[str, Callable[..., Detector]] = {"compact": compact_gfl, "hcgnet": gfl_hcgnet, "resnet50": gfl_resnet50}
"""Detectors by the name of their backbone."""
