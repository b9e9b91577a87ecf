"""Training of detectors: rates, update rules, a batch of images, and `fit`, which needs no simulator."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from toolkit.core.work import Work
from toolkit.datasets.detection.images import DetectionSet
from toolkit.datasets.detection.targets import Targets
from toolkit.errors import DataError
from toolkit.learning.adam import Adam
from toolkit.learning.detection.losses import detection_loss
from toolkit.learning.meter import adam_work, elementwise_work, update_work
from toolkit.learning.random import torch_generator
from toolkit.learning.train_state import TrainState
from toolkit.models.detection.detector import Detector

Rule = Literal["adamw", "sgd"]
MOMENTUM, DECAY = 0.9, 1e-4
WARM_STEPS = 500
"""Of SGD's settings in the papers."""


def rate_at(rule: Rule, step: int, steps: int, rate: float) -> float:
    """Return the learning rate of *step* of *steps*.

    AdamW goes through one cycle: up on a cosine from a 25th of *rate* in the first tenth, then down on one to nothing (Smith, Topin 2017).
    SGD warms up over 500 steps, or a tenth of all where that is less, and is cut to a tenth at 8/12 and 11/12 of the steps.
    """
    if rule == "adamw":
        rising = max(1, round(0.1 * steps))
        if step < rising:
            return rate * (0.04 + 0.96 * (1 - math.cos(math.pi * (step + 1) / rising)) / 2)
        return rate * (1 + math.cos(math.pi * (step + 1 - rising) / max(1, steps - rising))) / 2
    warm = min(WARM_STEPS, max(1, steps // 10))
    warming = min(1.0, 0.001 + 0.999 * (step + 1) / warm)
    return rate * warming * 0.1 ** ((step >= steps * 8 / 12) + (step >= steps * 11 / 12))


@dataclass
class Moments:
    """What an update rule keeps between steps."""

    adam: Adam = field(default_factory=Adam)
    momentum: list[Tensor] = field(default_factory=list)

    @classmethod
    def of(cls, rule: Rule, weights: Tensor) -> Moments:
        return cls(adam=Adam.of([weights])) if rule == "adamw" else cls(momentum=[torch.zeros_like(weights)])


@torch.no_grad()
def update(rule: Rule, state: TrainState[Moments], rate: float) -> None:
    """Move the weights of *state* by its gradient; AdamW decays weights beside its step (Loshchilov, Hutter 2019), SGD through it."""
    weights, gradient = state.weights, state.gradient
    if rule == "adamw":
        weights.mul_(1 - rate * DECAY)
        state.optimiser.adam.step([weights], [gradient], rate)
    else:
        (momentum,) = state.optimiser.momentum
        gradient.add_(weights, alpha=DECAY)
        momentum.mul_(MOMENTUM).add_(gradient)
        weights.add_(momentum, alpha=-rate)


def updating_work(rule: Rule, size: int) -> Work:
    """Return the work of `update` on *size* weights, every kernel a launch."""
    if rule == "adamw":
        return adam_work(size) + elementwise_work(size, flops=1, reads=1, writes=1, launches=1)
    return update_work(size, momentum=True, weight_decay=True)


def order_of(count: int, size: int, seeded: Callable[[int], np.random.Generator]) -> Callable[[int], Tensor]:
    """Return what says which images (size,) step n takes: each epoch all *count* in a new order, what does not fill a batch left out.

    A set smaller than a batch is taken whole, and more than once.
    """
    per_epoch = max(1, count // size)

    def taken(step: int) -> Tensor:
        order = seeded(step // per_epoch).permutation(count)
        if count < size:
            order = np.resize(order, size)
        place = step % per_epoch * size
        return torch.from_numpy(order[place : place + size].copy())

    return taken


@torch.no_grad()
def flipped(images: Tensor, targets: Targets, which: Tensor) -> tuple[Tensor, Targets]:
    """Mirror those of *images* (b, 3, height, width) that *which* (b,) says, and their boxes."""
    width = images.shape[3]
    boxes = targets.boxes
    mirrored = torch.stack([width - boxes[..., 2], boxes[..., 1], width - boxes[..., 0], boxes[..., 3]], dim=-1)
    return (
        torch.where(which.view(-1, 1, 1, 1), images.flip(3), images),
        targets._replace(boxes=torch.where(which.view(-1, 1, 1), mirrored, boxes)),
    )


def begun(detector: Detector, rule: Rule) -> TrainState[Moments]:
    """Take the trainable weights of *detector* over."""
    state = TrainState.create(detector, Moments())
    state.optimiser = Moments.of(rule, state.weights)
    return state


def fit(
    detector: Detector, data: DetectionSet, *, epochs: int = 12, batch: int = 32, rate: float = 1e-3, rule: Rule = "adamw",
    flip: bool = False, seed: int = 0, told: Callable[[int, float], None] | None = None,
) -> Detector:
    """Train *detector* on *data* and return it, in eval mode.

    Args:
        detector: knows as many classes as *data* has.
        data: images and boxes.
        epochs: passes over them.
        batch: images per step.
        rate: largest learning rate.
        rule: AdamW through one cycle, or SGD with momentum as in the papers.
        flip: mirror half of the images; not for digits and letters.
        seed: of the order of images and of flips.
        told: called after each epoch with its number, from 1, and its mean loss.

    Raises:
        DataError: there are no images, or other classes.
        DivergenceError: the loss is no longer finite.
    """
    check_classes(detector, data)
    per_epoch = max(1, len(data) // batch)
    steps = epochs * per_epoch
    taken = order_of(len(data), batch, lambda epoch: np.random.default_rng([seed, epoch]))
    state = begun(detector, rule)
    losses: list[float] = []
    detector.train()
    for step in range(steps):
        images, targets = data.batch(taken(step))
        if flip:
            which = torch.rand(len(images), generator=torch_generator(np.random.default_rng([seed, 1, step]))) < 0.5
            images, targets = flipped(images, targets, which)
        rate_now = rate_at(rule, step, steps, rate)
        targets = Targets(*(part.to(detector.mean.device) for part in targets))
        loss = detection_loss(detector, detector(images.to(detector.mean.device)), targets).total
        state.backward(loss, rate=rate_now)
        update(rule, state, rate_now)
        state.step += 1
        losses.append(float(loss.detach()))
        if told is not None and (step + 1) % per_epoch == 0:
            told((step + 1) // per_epoch, sum(losses[-per_epoch:]) / per_epoch)
    return detector.eval()


def check_classes(detector: Detector, data: DetectionSet) -> None:
    """Raise a DataError where *data* is empty or *detector* knows another number of classes."""
    if not len(data):
        raise DataError(f"{data.name}: has no images")
    if detector.classes != len(data.names):
        raise DataError(f"{data.name}: has {len(data.names)} classes, and the detector knows {detector.classes}")
