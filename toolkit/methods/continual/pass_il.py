"""PASS: prototypes with noise about them, and rotations as classes of their own."""

from __future__ import annotations

from typing import Any, ClassVar, final

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy

from toolkit.core.work import FLOAT_BYTES
from toolkit.datasets.streams import Stream
from toolkit.errors import ScenarioError
from toolkit.learning.adam import Adam
from toolkit.learning.meter import elementwise_work
from toolkit.methods.continual import Batch, ContinualMethod
from toolkit.methods.continual.adam_steps import adam_step, fallen
from toolkit.methods.continual.auxiliary_net import turned
from toolkit.methods.continual.bases import check_bases
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.network import ContinualNet
from toolkit.methods.continual.wide_net import Prototypes, WideNet, old_classes, radius, wide_net

VIEWS = 4


@final
class PassIl(ContinualMethod[Prototypes]):
    """CE(C(F(x~)) / T, (y, rotation)) + a CE(C(p_c + r e) / T, c) + b |F(x~) - F'(x~)|, the last two from the second task on.

    p_c is the mean feature of an old class, e normal noise, and r^2 the mean over the first task's classes of tr(Cov_c) / d. Upright
    outputs answer.

    Source: Zhu et al., *Prototype Augmentation and Self-Supervision for Incremental Learning*, CVPR 2021, with its coefficients. Departure:
    scores of classes not seen are left out.
    """

    replays: ClassVar[bool] = False

    temperature: float = Field(0.1, gt=0, description="what scores are divided by in training")
    prototypes: float = Field(10.0, ge=0, description="weight a of the noisy prototypes")
    distil: float = Field(10.0, ge=0, description="weight b of the feature distance")
    weight_decay: float = Field(2e-4, ge=0, description="weight decay")
    decay_every: int = Field(45, ge=1, description="epochs after which the learning rate falls to a tenth")

    def network(self, model: nn.Module, image_shape: tuple[int, int, int], weights: Generator) -> ContinualNet:
        if image_shape[1] != image_shape[2]:
            shape = f"{image_shape[1]}x{image_shape[2]}"
            raise ScenarioError(f"program.method: pass_il turns images by 90 degrees, and those of {shape} are not square; use etag or gfr")
        net = ContinualNet(model, image_shape)
        return WideNet(model, image_shape, (VIEWS - 1) * net.num_classes, weights)

    def check(self, stream: Stream, capacity: int) -> None:
        check_bases(stream, "pass_il")

    def init(self, learner: Learner) -> Prototypes:
        means = torch.zeros((learner.num_classes, learner.net.feature_size), device=learner.device)
        return Prototypes(means, torch.zeros((), device=learner.device), Adam())

    def resume(self, learner: Learner, begun: Prototypes, kept: Any) -> Prototypes:
        return begun.resume(learner, kept)

    def begin_task(self, learner: Learner, state: Prototypes) -> None:
        state.begin_task(learner)

    def step(self, learner: Learner, state: Prototypes, batch: Batch) -> Tensor:
        net, size, labels = wide_net(learner), VIEWS * len(batch), batch.labels.to(learner.device)
        views = turned(net.encode(learner.augmented(batch)), VIEWS)
        learner.did(elementwise_work(views.numel(), flops=0, reads=1, writes=1, launches=VIEWS))
        features = net.features(views)
        joint = torch.cat([labels + view * learner.seen for view in range(VIEWS)])
        rate = fallen(learner, self.decay_every)
        if state.teacher is None:
            loss = cross_entropy(self._named(learner, net.wide(features)), joint)
            return adam_step(learner, state.adam, loss, self.weight_decay, rate=rate)
        classes = old_classes(learner, learner.batch)
        noise = torch.randn((len(classes), net.feature_size), generator=learner.generator("method")).to(learner.device)
        scores = self._named(learner, net.wide(torch.cat([features, state.means[classes] + state.spread * noise])))
        with torch.no_grad():
            before = state.teacher.features(views)
        loss = cross_entropy(scores[:size], joint) + self.prototypes * cross_entropy(scores[size:], classes)
        loss = loss + self.distil * torch.linalg.vector_norm(features - before)
        return adam_step(learner, state.adam, loss, self.weight_decay, rate=rate)

    def _named(self, learner: Learner, scores: Tensor) -> Tensor:
        """Return the scores of the classes seen, upright first and then those of each rotation, over the temperature."""
        return scores.view(len(scores), VIEWS, learner.num_classes)[:, :, : learner.seen].flatten(1) / self.temperature

    def class_nbytes(self, learner: Learner) -> float:
        return FLOAT_BYTES * learner.net.feature_size

    def end_task(self, learner: Learner, state: Prototypes) -> None:
        features, labels = state.end_task(learner)
        if learner.task == 0:
            state.spread = radius(features, labels, learner.seen)
