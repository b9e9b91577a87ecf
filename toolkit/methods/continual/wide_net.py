"""A continual network with more outputs than classes, for methods that learn classes of their own making, and the prototypes they keep."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from toolkit.learning.adam import Adam
from toolkit.learning.plain_state import restored
from toolkit.methods.continual.bulk import evaluating
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.network import ContinualNet
from toolkit.methods.continual.teacher import as_teacher, frozen_copy
from toolkit.models import fresh


class WideNet(ContinualNet):
    """A network with *more* outputs beside those of the classes; they are trained with, and never answer."""

    def __init__(self, model: nn.Module, image_shape: tuple[int, int, int], more: int, weights: Generator) -> None:
        super().__init__(model, image_shape)
        self.more = fresh(lambda: nn.Linear(self.feature_size, more), weights)

    def wide(self, features: Tensor) -> Tensor:
        """Return the scores (n, K + more) of features, those of the classes first."""
        self._count("plain_wide", features)
        return self._answered(self.plain_wide(features))

    def plain_wide(self, features: Tensor) -> Tensor:
        return torch.cat([self.model.classifier(features), self.more(features)], 1)


def wide_net(learner: Learner) -> WideNet:
    """Return the learner's network, which the method made wide."""
    if not isinstance(learner.net, WideNet):
        raise TypeError("this network has no more outputs than classes")
    return learner.net


@dataclass
class Prototypes:
    """What a method with prototypes keeps: means of classes, and how features spread about them."""

    means: Tensor
    """(K, d), zero for classes not met."""
    spread: Tensor
    """Covariances (K, d, d), or the radius of all classes, a single number; zero for what is not met."""
    adam: Adam
    """Of the present task."""
    teacher: ContinualNet | None = None
    """The network as it was when the present task began; None in the first task and between tasks."""

    def begin_task(self, learner: Learner) -> None:
        if learner.task:
            self.teacher = frozen_copy(learner)
        self.adam = Adam.of(learner.parameters)

    def resume(self, learner: Learner, kept: Any) -> Prototypes:
        """Return these prototypes as they were *kept*."""
        if kept["teacher"] is not None:
            self.teacher = as_teacher(copy.deepcopy(learner.net))
        return restored(self, kept)

    def end_task(self, learner: Learner) -> tuple[Tensor, Tensor]:
        """Let go of what a task needs, take the means of its classes, and return its features (n, d) and labels."""
        self.teacher, self.adam = None, Adam()
        found, labels = task_features(learner)
        self.means = self.means + class_means(found, labels, learner.num_classes)
        return found, labels


def task_features(learner: Learner) -> tuple[Tensor, Tensor]:
    """Return the features (n, d) of the present task's images as they are, and their labels."""
    samples = learner.stream.train(learner.task)
    found = torch.zeros((len(samples), learner.net.feature_size), device=learner.device)
    with torch.no_grad(), evaluating(learner.net):
        for part in learner.parts(torch.arange(len(samples)), learner.batch):
            found[part] = learner.net.features(learner.net.encode(learner.clean(samples.images[part])))
    return found, samples.labels.to(learner.device)


def class_means(features: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Return the mean features of every class, (K, d); zero for a class without samples."""
    totals = features.new_zeros((num_classes, features.shape[1])).index_add(0, labels, features)
    counts = features.new_zeros(num_classes).index_add(0, labels, features.new_ones(len(labels)))
    return totals / counts.clamp_min(1)[:, None]


def radius(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return the root of the mean over *classes* of tr(Cov_c) / d of their *features* (n, d)."""
    apart = features - class_means(features, labels, classes)[labels]
    return class_means(apart.square(), labels, classes).mean().sqrt()


def old_classes(learner: Learner, count: int) -> Tensor:
    """Draw *count* classes of past tasks."""
    old = learner.stream.seen(learner.task - 1)
    return torch.randint(old, (count,), generator=learner.generator("method")).to(learner.device)
