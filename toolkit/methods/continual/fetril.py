"""FeTrIL: a frozen extractor, and features of old classes made of new ones by moving them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from toolkit.datasets.streams import Stream
from toolkit.methods.continual import Batch, ContinualMethod
from toolkit.methods.continual.bases import check_bases
from toolkit.methods.continual.bulk import evaluating
from toolkit.methods.continual.feature_replay import ratio
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.sgd import plain_step


@dataclass
class Means:
    """Mean features of classes (K, d), zero for those not met."""

    means: Tensor


@final
class Fetril(ContinualMethod[Means]):
    """After the first task the trunk is frozen and the classifier learns (CE of new features + rho CE of moved ones) / (rho + 1).

    A moved feature is f(x) - mean of y + mean of an old class.

    Source: Petit et al., *FeTrIL: Feature Translation for Exemplar-Free Class-Incremental Learning*, WACV 2023. Departure: which new sample
    is moved to which old class is drawn, as many in a step as there are new ones; the paper takes those of the nearest new class.
    """

    replays: ClassVar[bool] = False

    def check(self, stream: Stream, capacity: int) -> None:
        check_bases(stream, "fetril")

    def init(self, learner: Learner) -> Means:
        return Means(torch.zeros((learner.num_classes, learner.net.feature_size), device=learner.device))

    def begin_task(self, learner: Learner, state: Means) -> None:
        if learner.task:
            learner.net.eval()
            self._meet(learner, state)

    def _meet(self, learner: Learner, state: Means) -> None:
        """Take the means of the present task's classes."""
        samples = learner.stream.train(learner.task)
        totals = torch.zeros_like(state.means)
        for part in learner.parts(torch.arange(len(samples)), learner.batch):
            totals.index_add_(0, samples.labels[part].to(learner.device), self._features(learner, learner.clean(samples.images[part])))
        counts = torch.bincount(samples.labels, minlength=learner.num_classes).clamp_min(1).to(learner.device)
        state.means = state.means + totals / counts[:, None]

    def _features(self, learner: Learner, images: Tensor) -> Tensor:
        with torch.no_grad(), evaluating(learner.net):
            return learner.net.features(learner.net.encode(images))

    def step(self, learner: Learner, state: Means, batch: Batch) -> Tensor:
        if learner.task == 0:
            return plain_step(learner, batch)
        rho, old = ratio(learner), learner.stream.seen(learner.task - 1)
        features = self._features(learner, learner.augmented(batch))
        generator, labels = learner.generator("method"), batch.labels.to(learner.device)
        classes = torch.randint(old, (len(batch),), generator=generator).to(learner.device)
        moved = features - state.means[labels] + state.means[classes]
        scores = learner.net.classify(torch.cat([features, moved]))[:, : learner.seen]
        now, then = scores[: len(batch)], scores[len(batch) :]
        loss = (cross_entropy(now, labels) + rho * cross_entropy(then, classes)) / (rho + 1)
        learner.descend(loss)
        return loss.detach()

    def end_task(self, learner: Learner, state: Means) -> None:
        if learner.task == 0:
            self._meet(learner, state)
