"""FeTrIL: a frozen extractor, and features of old classes made of new ones by moving them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from toolkit.core.work import FLOAT_BYTES
from toolkit.datasets.streams import Stream
from toolkit.learning.meter import elementwise_work
from toolkit.methods.continual import Batch, ContinualMethod
from toolkit.methods.continual.bases import check_bases
from toolkit.methods.continual.bulk import evaluating
from toolkit.methods.continual.feature_replay import ratio
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.sgd import plain_step
from toolkit.methods.continual.wide_net import class_means, old_classes, task_features


@dataclass
class Means:
    """Mean features of classes (K, d), zero for those not met, and what the frozen trunk makes of the present task's images."""

    means: Tensor
    features: Tensor | None = None
    """(n, d), class by class; None in the first task and between tasks."""


@final
class Fetril(ContinualMethod[Means]):
    """After the first task the trunk is frozen and the classifier learns (CE of new features + rho CE of moved ones) / (rho + 1).

    A moved feature is f(x) - mean of y + mean of an old class, x being a sample of the new class y whose mean has the largest cosine with
    that of the old class. Old classes are drawn, as many in a step as there are new samples, and for each a sample of its new class.

    Source: Petit et al., *FeTrIL: Feature Translation for Exemplar-Free Class-Incremental Learning*, WACV 2023.
    """

    replays: ClassVar[bool] = False

    def check(self, stream: Stream, capacity: int) -> None:
        check_bases(stream, "fetril")

    def init(self, learner: Learner) -> Means:
        return Means(torch.zeros((learner.num_classes, learner.net.feature_size), device=learner.device))

    def begin_task(self, learner: Learner, state: Means) -> None:
        if learner.task:
            learner.net.eval()
            features, labels = self._meet(learner, state)
            state.features = features[labels.argsort(stable=True)]

    def _meet(self, learner: Learner, state: Means) -> tuple[Tensor, Tensor]:
        """Take the means of the present task's classes; return its features (n, d) and labels."""
        features, labels = task_features(learner)
        state.means = state.means + class_means(features, labels, learner.num_classes)
        return features, labels

    def step(self, learner: Learner, state: Means, batch: Batch) -> Tensor:
        if state.features is None:
            return plain_step(learner, batch)
        rho, labels = ratio(learner), batch.labels.to(learner.device)
        with torch.no_grad(), evaluating(learner.net):
            features = learner.net.features(learner.net.encode(learner.augmented(batch)))
        classes = old_classes(learner, len(batch))
        scores = learner.net.classify(torch.cat([features, self._moved(learner, state, classes)]))[:, : learner.seen]
        now, then = scores[: len(batch)], scores[len(batch) :]
        loss = (cross_entropy(now, labels) + rho * cross_entropy(then, classes)) / (rho + 1)
        learner.descend(loss)
        return loss.detach()

    def _moved(self, learner: Learner, state: Means, classes: Tensor) -> Tensor:
        """Return features of the old *classes* (n,): of samples of the new classes nearest to them, moved."""
        assert state.features is not None
        own = learner.task_classes
        near = nearest(state.means[: own.start], state.means[own.start : own.stop])[classes]
        counts = torch.bincount(learner.stream.train(learner.task).labels, minlength=own.stop)[own.start :].to(learner.device)
        drawn = torch.rand(len(classes), generator=learner.generator("method")).to(learner.device)
        places = (counts.cumsum(0) - counts)[near] + (drawn * counts[near]).long()
        learner.did(elementwise_work(len(classes) * state.means.shape[1], flops=2, reads=3, writes=1, launches=3))
        return state.features[places] - state.means[own.start + near] + state.means[classes]

    def class_nbytes(self, learner: Learner) -> float:
        return FLOAT_BYTES * learner.net.feature_size

    def end_task(self, learner: Learner, state: Means) -> None:
        state.features = None
        if learner.task == 0:
            self._meet(learner, state)


def nearest(old: Tensor, new: Tensor) -> Tensor:
    """Return for each of the means *old* (m, d) the place of the one of *new* (n, d) with the largest cosine, (m,)."""
    return (normalize(old) @ normalize(new).T).argmax(1)
