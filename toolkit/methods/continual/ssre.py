"""SSRE: branches that learn a task and are folded into the network, and samples told apart by how near they are to old classes."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from toolkit.core.work import FLOAT_BYTES
from toolkit.datasets.streams import Stream
from toolkit.learning.adam import Adam
from toolkit.learning.meter import elementwise_work
from toolkit.learning.plain_state import restored
from toolkit.methods.continual import Batch, ContinualMethod
from toolkit.methods.continual.adam_steps import move
from toolkit.methods.continual.adapted_net import AdaptedNet, adapted_net
from toolkit.methods.continual.bases import check_bases
from toolkit.methods.continual.feature_replay import ratio
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.network import ContinualNet
from toolkit.methods.continual.teacher import as_teacher, frozen_copy
from toolkit.methods.continual.wide_net import class_means, old_classes, task_features


@dataclass
class Branches:
    """What lasts between the steps of SSRE."""

    means: Tensor
    """Mean features of classes (K, d), zero for those not met."""
    adam: Adam
    """Of the weights that learn in the present task."""
    teacher: ContinualNet | None = None
    """The network as it was when the present task began; None in the first task and between tasks."""


@final
class Ssre(ContinualMethod[Branches]):
    """(1/B) sum_x (1 - m_x) CE(C(F(x)) / T, y) + a CE(C(p_c) / T, c) + b sum_x m_x |F(x) - F'(x)| from the second task on.

    m_x is the largest cosine of F'(x) with the mean p_c of an old class, between 0 and 1: samples near to old classes hold the features,
    those far from them teach the classifier. Every 3x3 convolution has a 1x1 convolution beside it; these and the classifier learn, the
    rest and BatchNorm stay as they are, and after the task they are folded in (`toolkit.methods.continual.adapted_net`). Each step meets
    rho means for each of its samples.

    Source: Zhu et al., *Self-Sustaining Representation Expansion for Non-Exemplar Class-Incremental Learning*, CVPR 2022, with its
    coefficients. Departure: scores of classes not seen are left out.
    """

    replays: ClassVar[bool] = False

    temperature: float = Field(0.1, gt=0, description="what scores are divided by in training")
    prototypes: float = Field(10.0, ge=0, description="weight a of the means of old classes")
    distil: float = Field(1.0, ge=0, description="weight b of the feature distance")
    weight_decay: float = Field(2e-4, ge=0, description="weight decay")

    def network(self, model: nn.Module, image_shape: tuple[int, int, int], weights: Generator) -> ContinualNet:
        return AdaptedNet(model, image_shape)

    def check(self, stream: Stream, capacity: int) -> None:
        check_bases(stream, "ssre")

    def init(self, learner: Learner) -> Branches:
        adapted_net(learner).train_all_but_sides()
        return Branches(torch.zeros((learner.num_classes, learner.net.feature_size), device=learner.device), Adam())

    def resume(self, learner: Learner, begun: Branches, kept: Any) -> Branches:
        if kept["teacher"] is not None:
            begun.teacher = as_teacher(copy.deepcopy(learner.net))
        return restored(begun, kept)

    def _learning(self, learner: Learner) -> list[Tensor]:
        return [weight for weight in learner.parameters if weight.requires_grad]

    def begin_task(self, learner: Learner, state: Branches) -> None:
        if learner.task:
            learner.net.eval()
            state.teacher = frozen_copy(learner)
            adapted_net(learner).train_sides()
        for weight in learner.parameters:
            weight.grad = None
        state.adam = Adam.of(self._learning(learner))

    def step(self, learner: Learner, state: Branches, batch: Batch) -> Tensor:
        net, labels = adapted_net(learner), batch.labels.to(learner.device)
        maps = net.encode(learner.augmented(batch))
        if state.teacher is None:
            loss = cross_entropy(self._scores(learner, net.features(maps)), labels)
        else:
            classes = old_classes(learner, max(1, round(ratio(learner) * len(batch))))
            features = net.expanded(maps)
            scores = self._scores(learner, torch.cat([features, state.means[classes]]))
            with torch.no_grad():
                before = state.teacher.features(maps)
                near = self._nearness(learner, state, before)
            told = cross_entropy(scores[: len(batch)], labels, reduction="none")
            loss = ((1 - near) * told).mean() + self.prototypes * cross_entropy(scores[len(batch) :], classes)
            loss = loss + self.distil * (near * torch.linalg.vector_norm(features - before, dim=1)).sum()
        weights = self._learning(learner)
        for weight in weights:
            weight.grad = None
        learner.backward(loss)
        move(learner, state.adam, weights, rate=learner.lr, weight_decay=self.weight_decay)
        return loss.detach()

    def _scores(self, learner: Learner, features: Tensor) -> Tensor:
        return learner.net.classify(features)[:, : learner.seen] / self.temperature

    def _nearness(self, learner: Learner, state: Branches, features: Tensor) -> Tensor:
        """Return the largest cosine of each of *features* with the mean of an old class, (n,)."""
        means = state.means[: learner.stream.seen(learner.task - 1)]
        size = features.numel() + means.numel()
        learner.did(elementwise_work(size, flops=3, reads=3, writes=1, launches=6))
        learner.did(elementwise_work(features.numel(), flops=2 * len(means), reads=1, writes=0, launches=2))
        return (normalize(features) @ normalize(means).T).amax(1).clamp(0, 1)

    def class_nbytes(self, learner: Learner) -> float:
        return FLOAT_BYTES * learner.net.feature_size

    def end_task(self, learner: Learner, state: Branches) -> None:
        state.teacher, state.adam = None, Adam()
        if learner.task:
            adapted_net(learner).fold()
        state.means = state.means + class_means(*task_features(learner), learner.num_classes)

    def predict(self, learner: Learner, state: Branches, images: Tensor) -> Tensor:
        net = adapted_net(learner)
        return net.plain_classify(net.plain_expanded(net.plain_encode(images)))
