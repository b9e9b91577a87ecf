"""Recipes: how a network is trained, the same for all networks that are compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, final

import numpy as np
from pydantic import Field
from torch import Tensor

from toolkit.core.part import Spec
from toolkit.learning.augment import random_crop, random_flip
from toolkit.learning.mixing import cutout, mixup, smoothed
from toolkit.learning.random import torch_generator
from toolkit.learning.schedules import drop_rate, sgdr

Streams = Callable[..., np.random.Generator]
"""A context's `shared_rng`."""


@final
class Recipe(Spec):
    """SGD with momentum under warm restarts (`toolkit.learning.schedules`), and what is done to a batch before the network sees it.

    The defaults are HCGNet's on CIFAR, but for their number of epochs (1,270 there: seven cycles) and for what does not suit digits
    (`crop_padding` 4, `flip`, `mixup` 1.0, `drop_block` 0.1 there).
    """

    epochs: int = Field(20, ge=1, description="passes over the training set")
    batch: int = Field(128, ge=2, description="images per step")
    lr: float = Field(0.1, gt=0, description="learning rate at its highest")
    first_epochs: float = Field(10, gt=0, description="length of the first cycle; that of all epochs gives one cosine")
    cycle_factor: float = Field(2, ge=1, description="how many times longer each further cycle is")
    repeat_epochs: float | None = Field(None, gt=0, description="after so many epochs the cycles begin anew")
    lr_by: Literal["epoch", "step"] = Field("epoch", description="when the rate changes")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum factor")
    nesterov: bool = Field(True, description="look ahead along the momentum")
    weight_decay: float = Field(1e-4, ge=0, description="L2 penalty on all parameters")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="mass spread over the wrong classes")
    mixup: float = Field(0.0, ge=0, description="parameter of the Beta distribution; 0: none")
    cutout: int = Field(0, ge=0, description="side of the square that is cut out, in pixels; 0: none")
    crop_padding: int = Field(0, ge=0, description="pixels of padding before a random crop; 0: none")
    flip: bool = Field(False, description="mirror every other image")
    drop_block: float = Field(0.0, ge=0, lt=1, description="DropBlock's rate at the end of a cycle, of networks that have any")
    group_lasso: float = Field(1e-5, ge=0, description="weight of the penalty that learned group convolutions bring (CondenseNet)")

    def lr_at(self, step: int, per_epoch: int) -> float:
        """Return the learning rate of *step*, counted from 0."""
        return sgdr(self._epoch(step, per_epoch), self.lr, self.first_epochs, self.cycle_factor, self.repeat_epochs)

    def drop_at(self, step: int, per_epoch: int) -> float:
        """Return DropBlock's rate of *step*."""
        if not self.drop_block:
            return 0.0
        return drop_rate(self._epoch(step, per_epoch), self.drop_block, self.first_epochs, self.cycle_factor, self.repeat_epochs)

    def _epoch(self, step: int, per_epoch: int) -> float:
        return step // per_epoch if self.lr_by == "epoch" else step / per_epoch

    def prepared(
        self, images: Tensor, labels: Tensor, black: Tensor, num_classes: int, streams: Streams, step: int
    ) -> tuple[Tensor, Tensor]:
        """Return what the network sees of a batch at *step*, and its targets (batch, classes).

        Args:
            images: normalised (batch, channels, height, width).
            black: the normalised value (channels, 1, 1) of a black pixel, which padding becomes.
            streams: gives each draw a stream named after what it is for and the step, so a resumed run draws alike.
        """
        if self.crop_padding:
            images = random_crop(images, self.crop_padding, torch_generator(streams("crop", step)), fill=black)
        if self.flip:
            images = random_flip(images, torch_generator(streams("flip", step)))
        if self.cutout:
            images = cutout(images, self.cutout, torch_generator(streams("cutout", step)))
        targets = smoothed(labels, num_classes, self.label_smoothing)
        if self.mixup:
            images, targets = mixup(images, targets, self.mixup, streams("mixup", step))
        return images, targets

    @property
    def passes(self) -> int:
        """How many times the pixels of a batch are read and written before the network sees them."""
        return sum(map(bool, (self.crop_padding, self.flip, self.cutout, self.mixup)))
