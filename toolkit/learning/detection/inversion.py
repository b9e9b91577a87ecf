"""Objects out of a detector: images found by gradient so that it sees in them what it is asked for.

Source: EGOR (arXiv 2406.04829; IOR, ICASSP 2025), section on generation, written from its description: one box per image, the whole
detection loss, the statistics of all BatchNorm layers, total variation; the image is moved about each iteration, and its box with it.
Departures: images lie in [0, 1] and are cut to that after each step, so what is kept is what the detector saw; small canvases and fewer
iterations by default.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from toolkit.datasets.detection.targets import Targets
from toolkit.learning.adam import Adam
from toolkit.learning.detection.losses import detection_loss
from toolkit.learning.detection.pasting import Pool
from toolkit.learning.detection.prediction import predict
from toolkit.learning.detection.ratios import RatioHistogram, drawn_sides
from toolkit.learning.random import torch_generator
from toolkit.models.detection.detector import Detector
from toolkit.models.detection.geometry import clipped


@dataclass(frozen=True)
class InversionRecipe:
    """How images are found."""

    per_class: int = 10
    side: int = 64
    iterations: int = 400
    rate: float = 0.1
    betas: tuple[float, float] = (0.5, 0.9)
    longer: tuple[float, float] = (0.45, 0.7)
    """Of a box, as shares of the side."""
    jitter: int = 6
    flip: float = 0.0
    """Chance that an iteration sees the images mirrored."""
    brightness: float = 0.0
    """Deviation of what is added to an image in an iteration."""
    erase: float = 0.0
    """Chance that a rectangle of an image is grey in an iteration."""
    detection: float = 10.0
    variation: float = 1.0
    statistics: float = 0.1
    first_statistics: float = 0.3


class Moves(NamedTuple):
    """What happens to the images in one iteration."""

    roll: tuple[int, int]
    """Pixels down and right."""
    flip: bool
    brightness: Tensor
    """(n, 1, 1, 1)."""
    erased: Tensor
    """(n, 4) boxes; empty ones erase nothing."""


class InversionLosses(NamedTuple):
    """The terms of one iteration."""

    total: Tensor
    detection: Tensor
    statistics: Tensor
    """Sum over all BatchNorm layers of the distances of means and of variances."""


@dataclass
class Generated:
    """Images of old classes."""

    images: Tensor
    """(n, 3, side, side) in [0, 1]."""
    boxes: Tensor
    """(n, 4)."""
    labels: Tensor
    history: list[tuple[float, float]] = field(default_factory=list)
    """Detection loss and statistics of each iteration, means over batches."""
    recognised: float = math.nan
    """Share of the images in which the detector finds the class with a score above 0.3."""

    def pool(self) -> Pool:
        """Return the objects cut out."""
        return Pool.cut(to_bytes(self.images), self.boxes, self.labels)


def to_bytes(images: Tensor) -> Tensor:
    """Return *images* in [0, 1] as bytes."""
    return (images * 255).round().clamp(0, 255).to(torch.uint8)


@contextmanager
def watched_norms(detector: Detector) -> Iterator[list[Tensor]]:
    """Collect, layer by layer, how far mean and variance of what enters each BatchNorm are from its running ones; hooks go afterwards."""
    found: list[Tensor] = []

    def note(layer: nn.Module, entering: tuple[Tensor, ...]) -> None:
        maps = entering[0]
        mean, variance = maps.mean(dim=(0, 2, 3)), maps.var(dim=(0, 2, 3), unbiased=False)
        assert isinstance(layer.running_mean, Tensor)
        assert isinstance(layer.running_var, Tensor)
        found.append(
            torch.linalg.vector_norm(mean - layer.running_mean) + torch.linalg.vector_norm(variance - layer.running_var)
        )

    handles = [layer.register_forward_pre_hook(note) for layer in detector.batch_norms()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def total_variation(images: Tensor) -> Tensor:
    """Return the mean of absolute differences between neighbours, summed over four directions."""
    return (
        (images[..., 1:] - images[..., :-1]).abs().mean() + (images[..., 1:, :] - images[..., :-1, :]).abs().mean()
        + (images[..., 1:, 1:] - images[..., :-1, :-1]).abs().mean() + (images[..., 1:, :-1] - images[..., :-1, 1:]).abs().mean()
    )


def moved_boxes(boxes: Tensor, moves: Moves, side: int) -> Tensor:
    """Return where *boxes* (n, 4) are after *moves*; one that would be left with nothing stays where it was."""
    down, right = moves.roll
    shifted = clipped(boxes + torch.tensor([right, down, right, down], dtype=boxes.dtype, device=boxes.device), side, side)
    fits = ((shifted[:, 2:] - shifted[:, :2]) >= 1).all(dim=1, keepdim=True)
    found = torch.where(fits, shifted, boxes)
    if moves.flip:
        found = torch.stack([side - found[:, 2], found[:, 1], side - found[:, 0], found[:, 3]], dim=1)
    return found


def inversion_losses(detector: Detector, images: Tensor, targets: Targets, moves: Moves, recipe: InversionRecipe) -> InversionLosses:
    """Return the losses of *images* as they look after *moves*; *targets* hold the moved boxes, one per image."""
    seen = torch.roll(images, moves.roll, dims=(2, 3))
    if moves.flip:
        seen = seen.flip(3)
    if recipe.brightness:
        seen = seen + moves.brightness
    if recipe.erase:
        seen = torch.where(_inside(moves.erased, images.shape[-1]), detector.mean.expand_as(seen), seen)
    with watched_norms(detector) as statistics:
        answer = detector(seen)
    detection = detection_loss(detector, answer, targets).total
    every = torch.stack(statistics)
    total = recipe.detection * detection + recipe.variation * total_variation(seen)
    total = total + recipe.statistics * every.sum() + recipe.first_statistics * every[0]
    return InversionLosses(total, detection.detach(), every.detach().sum())


def _inside(boxes: Tensor, side: int) -> Tensor:
    """Return (n, 1, side, side): which pixels lie in the box of their image."""
    place = torch.arange(side, device=boxes.device)
    across = (place >= boxes[:, :1]) & (place < boxes[:, 2:3])
    down = (place >= boxes[:, 1:2]) & (place < boxes[:, 3:])
    return (down.unsqueeze(2) & across.unsqueeze(1)).unsqueeze(1)


def drawn_moves(count: int, recipe: InversionRecipe, rng: np.random.Generator) -> Moves:
    """Return the moves of one iteration of *count* images."""
    down, right = (int(rng.integers(-recipe.jitter, recipe.jitter + 1)) for _ in range(2))
    area = recipe.side**2 * rng.uniform(0.02, 0.2, count)
    ratio = np.exp(rng.uniform(math.log(0.3), math.log(3.3), count))
    width, height = (np.minimum(np.sqrt(each), recipe.side) for each in (area * ratio, area / ratio))
    x, y = ((recipe.side - length) * rng.random(count) for length in (width, height))
    erased = np.stack([x, y, x + width, y + height], axis=1) * (rng.random((count, 1)) < recipe.erase)
    brightness = rng.normal(0, 1, count) * recipe.brightness
    return Moves(
        (down, right), bool(rng.random() < recipe.flip), torch.from_numpy(brightness).float().view(-1, 1, 1, 1),
        torch.from_numpy(erased).float(),
    )


def drawn_boxes(
    labels: Sequence[int], histograms: Sequence[RatioHistogram], recipe: InversionRecipe, rng: np.random.Generator
) -> Tensor:
    """Return one box (n, 4) per image, wholly inside: its longer side a share of the canvas, its shape as its class's boxes were."""
    found = np.empty((len(labels), 4))
    for place, label in enumerate(labels):
        longer = recipe.side * rng.uniform(*recipe.longer, 1)
        width, height = drawn_sides(histograms[label], longer, rng)[0]
        x, y = (recipe.side - width) * rng.random(), (recipe.side - height) * rng.random()
        found[place] = x, y, x + width, y + height
    return torch.from_numpy(found).float()


@contextmanager
def held_still(detector: Detector) -> Iterator[None]:
    """Let *detector* answer in eval mode without gradients for its weights, and leave it as it was."""
    training, trains = detector.training, [weight.requires_grad for weight in detector.parameters()]
    detector.eval().requires_grad_(False)
    try:
        yield
    finally:
        for weight, flag in zip(detector.parameters(), trains, strict=True):
            weight.requires_grad_(flag)
        detector.train(training)


def generate(
    detector: Detector, histograms: Sequence[RatioHistogram], recipe: InversionRecipe, rng: np.random.Generator, *, batch: int | None = None
) -> Generated:
    """Return images of all classes that *detector* knows; it is the same afterwards, bit for bit.

    Args:
        detector: the old detector.
        histograms: of each of its classes.
        recipe: how.
        rng: draws boxes, first images and moves.
        batch: images at a time; without it one of each class.
    """
    classes = len(histograms)
    labels = [label for _ in range(recipe.per_class) for label in range(classes)]
    size = batch or classes
    with held_still(detector):
        parts = [
            _batch(detector, labels[begin : begin + size], histograms, recipe, rng) for begin in range(0, len(labels), size)
        ]
    shares = [len(part.labels) / len(labels) for part in parts]
    history = [
        (sum(share * part.history[place][0] for share, part in zip(shares, parts, strict=True)),
         sum(share * part.history[place][1] for share, part in zip(shares, parts, strict=True)))
        for place in range(recipe.iterations)
    ]
    images, boxes, found = (torch.cat(each) for each in zip(*((p.images, p.boxes, p.labels) for p in parts), strict=True))
    return Generated(images, boxes, found, history, recognised_share(detector, images, found))


def _batch(
    detector: Detector, labels: Sequence[int], histograms: Sequence[RatioHistogram], recipe: InversionRecipe, rng: np.random.Generator
) -> Generated:
    boxes = drawn_boxes(labels, histograms, recipe, rng)
    noise = torch.randn((len(labels), 3, recipe.side, recipe.side), generator=torch_generator(rng))
    device = detector.mean.device
    images = (detector.mean + detector.std * noise.to(device)).clamp(0, 1).requires_grad_()
    wanted = torch.tensor(labels, device=device)
    adam = Adam.of([images], recipe.betas)
    history = []
    for step in range(recipe.iterations):
        moves = drawn_moves(len(labels), recipe, rng)
        moves = moves._replace(brightness=moves.brightness.to(device), erased=moves.erased.to(device))
        targets = one_each(moved_boxes(boxes.to(device), moves, recipe.side), wanted)
        losses = inversion_losses(detector, images, targets, moves, recipe)
        (gradient,) = torch.autograd.grad(losses.total, images)
        rate = recipe.rate * (1 + math.cos(math.pi * step / recipe.iterations)) / 2
        with torch.no_grad():
            adam.step([images], [gradient], rate)
            images.clamp_(0, 1)
        history.append((float(losses.detection), float(losses.statistics)))
    return Generated(images.detach().cpu(), boxes, torch.tensor(labels), history)


def one_each(boxes: Tensor, labels: Tensor) -> Targets:
    """Return targets of images with one box each."""
    return Targets(boxes.unsqueeze(1), labels.unsqueeze(1), torch.ones_like(labels, dtype=torch.bool).unsqueeze(1))


def recognised_share(detector: Detector, images: Tensor, labels: Tensor, score: float = 0.3) -> float:
    """Return the share of *images* in which *detector* finds the class of *labels* with a score above *score*."""
    found = predict(detector, images.to(detector.mean.device), least_score=score)
    return sum(bool((each.labels.cpu() == label).any()) for each, label in zip(found, labels, strict=True)) / max(1, len(labels))


def as_canvas(images: Tensor, side: int, corners: Tensor, grey: float = 0.45) -> Tensor:
    """Return *images* (n, 3, s, s) laid whole on grey canvases of *side* pixels, upper left at *corners* (n, 2) as x, y."""
    size = images.shape[-1]
    if size >= side:
        return functional.interpolate(images, size=(side, side), mode="bilinear", align_corners=False) if size > side else images
    canvas = torch.full((len(images), 3, side, side), grey, dtype=images.dtype)
    for place, (x, y) in enumerate(corners.tolist()):
        canvas[place, :, y : y + size, x : x + size] = images[place]
    return canvas
