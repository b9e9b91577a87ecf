"""IL2A: classes of mixed images, and prototypes whose covariance is put into the loss."""

from __future__ import annotations

from typing import Any, ClassVar, final

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy

from toolkit.core.work import FLOAT_BYTES
from toolkit.datasets.streams import Stream
from toolkit.learning.adam import Adam
from toolkit.learning.meter import elementwise_work
from toolkit.methods.continual import Batch, ContinualMethod
from toolkit.methods.continual.adam_steps import adam_step, fallen
from toolkit.methods.continual.bases import check_bases
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.network import ContinualNet
from toolkit.methods.continual.wide_net import Prototypes, WideNet, old_classes, wide_net


@final
class Il2a(ContinualMethod[Prototypes]):
    """CE(C(F(x, mixed x)), (y, pair)) + a CE(C(p_c) + (g/2) (w_k - w_c)^T Cov_c (w_k - w_c), c) + b |F(x) - F'(x)|.

    Each image of a batch is mixed with another, in a share drawn from Beta(20, 20), cut to 0.4 to 0.6; the pair of their classes is a class
    of its own. The last two terms come with the second task: p_c and Cov_c are mean and covariance of an old class's features.

    Source: Zhu et al., *Class-Incremental Learning via Dual Augmentation*, NeurIPS 2021, with its coefficients. Departures: two images of
    one class keep it; each image is mixed once; pairs keep their outputs.
    """

    replays: ClassVar[bool] = False

    ratio: float = Field(2.5, ge=0, description="weight g of the covariance in prototypes' scores")
    prototypes: float = Field(10.0, ge=0, description="weight a of the prototypes")
    distil: float = Field(10.0, ge=0, description="weight b of the feature distance")
    weight_decay: float = Field(2e-4, ge=0, description="weight decay")
    decay_every: int = Field(45, ge=1, description="epochs after which the learning rate falls to a tenth")

    def network(self, model: nn.Module, image_shape: tuple[int, int, int], weights: Generator) -> ContinualNet:
        classes = ContinualNet(model, image_shape).num_classes
        return WideNet(model, image_shape, classes * (classes - 1) // 2, weights)

    def check(self, stream: Stream, capacity: int) -> None:
        check_bases(stream, "il2a")

    def init(self, learner: Learner) -> Prototypes:
        classes, size = learner.num_classes, learner.net.feature_size
        spread = torch.zeros((classes, size, size), device=learner.device)
        return Prototypes(torch.zeros((classes, size), device=learner.device), spread, Adam())

    def resume(self, learner: Learner, begun: Prototypes, kept: Any) -> Prototypes:
        return begun.resume(learner, kept)

    def begin_task(self, learner: Learner, state: Prototypes) -> None:
        state.begin_task(learner)

    def step(self, learner: Learner, state: Prototypes, batch: Batch) -> Tensor:
        net, labels, generator = wide_net(learner), batch.labels.to(learner.device), learner.generator("method")
        images = net.encode(learner.augmented(batch))
        partner = torch.randperm(len(batch), generator=generator).to(learner.device)
        share = mixing_share(generator)
        learner.did(elementwise_work(images.numel(), flops=3, reads=2, writes=1, launches=2))
        both = torch.cat([images, images.lerp(images[partner], 1 - share)])
        named = torch.cat([torch.arange(learner.seen), self._pairs(learner)]).to(learner.device)
        targets = torch.cat([labels, pair_labels(labels, labels[partner], learner.task_classes, learner.seen)])
        features = net.features(both)
        rate = fallen(learner, self.decay_every)
        if state.teacher is None:
            return adam_step(learner, state.adam, cross_entropy(net.wide(features)[:, named], targets), self.weight_decay, rate=rate)
        classes = old_classes(learner, learner.batch)
        scores = net.wide(torch.cat([features, state.means[classes]]))
        with torch.no_grad():
            before = state.teacher.features(both)
        learned = scores[len(both) :, : learner.seen] + 0.5 * self.ratio * self._spread(learner, state, classes)
        loss = cross_entropy(scores[: len(both), named], targets) + self.prototypes * cross_entropy(learned, classes)
        loss = loss + self.distil * torch.linalg.vector_norm(features - before)
        return adam_step(learner, state.adam, loss, self.weight_decay, rate=rate)

    def _pairs(self, learner: Learner) -> Tensor:
        """Return the outputs of the pairs of the present task, in the order of `pair_labels`."""
        every, own = range(learner.num_classes), learner.task_classes
        pairs = torch.tensor([(first, second) for first in own for second in own if first < second], dtype=torch.int64).view(-1, 2)
        return pair_labels(pairs[:, 0], pairs[:, 1], every, len(every))

    def _spread(self, learner: Learner, state: Prototypes, classes: Tensor) -> Tensor:
        """Return (w_k - w_c)^T Cov_c (w_k - w_c) of every class seen (columns) about each of *classes* (rows)."""
        weights = learner.net.model.classifier.weight[: learner.seen]
        apart = weights[None] - weights[classes][:, None]
        size = apart.shape[2]
        learner.did(elementwise_work(apart.numel(), flops=6 * size, reads=3 + size / learner.seen, writes=3))  # forward and back
        found: Tensor = ((apart @ state.spread[classes]) * apart).sum(2)
        return found

    def class_nbytes(self, learner: Learner) -> float:
        return FLOAT_BYTES * learner.net.feature_size * (1 + learner.net.feature_size)

    def end_task(self, learner: Learner, state: Prototypes) -> None:
        features, labels = state.end_task(learner)
        apart = features - state.means[labels]
        found = []
        for label in learner.task_classes:
            own = apart * (labels == label)[:, None]
            found.append(own.T @ own / (labels == label).sum())
        size = apart.shape[1]
        learner.did(elementwise_work(apart.numel(), flops=2 * size * len(found), reads=2 * len(found), writes=len(found)))
        met = learner.task_classes
        state.spread = torch.cat([state.spread[: met.start], torch.stack(found), state.spread[met.stop :]])


def mixing_share(generator: Generator) -> float:
    """Draw a share from Beta(20, 20), cut to 0.4 to 0.6; of two gamma variables the first's part of their sum is beta distributed."""
    first, second = torch._standard_gamma(torch.full((2,), 20.0), generator=generator).tolist()
    return float(min(max(first / (first + second), 0.4), 0.6))


def pair_labels(first: Tensor, second: Tensor, own: range, seen: int) -> Tensor:
    """Return *seen* + the place of each pair of labels among the pairs of *own* classes in order; a class with itself is that class."""
    low, high, count = torch.minimum(first, second) - own.start, torch.maximum(first, second) - own.start, len(own)
    place = low * (2 * count - low - 1) // 2 + high - low - 1
    return torch.where(first == second, first, seen + place)
