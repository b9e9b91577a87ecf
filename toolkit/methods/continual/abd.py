"""ABD: images of old classes dreamt out of the old network, and losses that do not tell dreams from samples."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from toolkit.datasets.streams import Stream
from toolkit.errors import ScenarioError
from toolkit.learning.adam import Adam
from toolkit.learning.image_inversion import Dreaming, ImageGenerator, dreaming_loss
from toolkit.learning.loss_work import loss_work, place_of
from toolkit.learning.meter import elementwise_work
from toolkit.learning.plain_state import restored
from toolkit.methods.continual import Batch, ContinualMethod
from toolkit.methods.continual.adam_steps import move
from toolkit.methods.continual.bases import check_bases
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.network import ContinualNet
from toolkit.methods.continual.teacher import as_teacher, frozen_copy
from toolkit.models import fresh


@dataclass
class Dreams:
    """What lasts between the steps of ABD."""

    generator: ImageGenerator
    """Of the present task, frozen while it is learnt."""
    teacher: ContinualNet | None = None
    """The network as it was when the present task began; None in the first task and between tasks."""


@final
class Abd(ContinualMethod[Dreams]):
    """CE among the new classes of samples + CE of the classifier alone of samples and dreams + mu |W'(F(x) - F'(x))|^2 of both.

    The second term leaves the features as they are; W' are the old classifier's rows of the old classes, so that features are held where
    these look, and the square is a mean over scores. Before a task is learnt, a generator of images is trained against the old
    network (`toolkit.learning.image_inversion`); a step meets as many dreams as samples, labelled by the old network.

    Source: Smith et al., *Always Be Dreaming: A New Approach for Data-Free Class-Incremental Learning*, ICCV 2021. Departures: weights move
    by plain SGD without decay; samples and dreams count alike in the second term; 10,000 steps of the source's generator are `dream_steps`.
    """

    replays: ClassVar[bool] = False

    distil: float = Field(0.1, ge=0, description="weight mu of the distance in the old classifier's scores")
    dream_steps: int = Field(10_000, ge=1, description="steps of the image generator before each task but the first")
    dream_lr: float = Field(1e-3, gt=0, description="learning rate of the image generator (Adam)")
    latent: int = Field(1000, ge=1, le=65_536, description="size of the image generator's noise")
    width: int = Field(128, ge=2, le=65_536, description="channels of the image generator")

    def check(self, stream: Stream, capacity: int) -> None:
        check_bases(stream, "abd")
        if min(stream.image_shape[1:]) < 3:
            raise ScenarioError(f"program.method: abd smooths images by 3x3 pixels, and those of {stream.dataset.name} are smaller")

    def init(self, learner: Learner) -> Dreams:
        return Dreams(self._generator(learner))

    def _generator(self, learner: Learner) -> ImageGenerator:
        shape = learner.net.image_shape
        found = fresh(lambda: ImageGenerator(shape, self.latent, self.width), learner.generator("generator"))
        return found.to(learner.device)

    def resume(self, learner: Learner, begun: Dreams, kept: Any) -> Dreams:
        if kept["teacher"] is not None:
            begun.teacher = as_teacher(copy.deepcopy(learner.net))
        return restored(begun, kept)

    def begin_task(self, learner: Learner, state: Dreams) -> None:
        if learner.task:
            state.teacher = frozen_copy(learner)
            state.generator = self._generator(learner)
            self._learn_to_dream(learner, state)

    def _learn_to_dream(self, learner: Learner, state: Dreams) -> None:
        """Train the image generator against the old network."""
        dreaming = Dreaming(state.generator, copy.deepcopy(learner.net.model)).train()
        weights = list(state.generator.parameters())
        adam, old = Adam.of(weights), learner.stream.seen(learner.task - 1)
        for _ in learner.repeated(self.dream_steps):
            noise = self._noise(learner)
            learner.meter.call(dreaming, noise.shape, "dream", training=True, part="generator")
            answers = dreaming.dream(noise)
            images, scores, apart = answers
            loss = dreaming_loss(images, scores[:, :old], apart)
            learner.did(loss_work(loss, {place for answer in answers if (place := place_of(answer)) is not None})[0])
            for weight in weights:
                weight.grad = None
            loss.backward()  # type: ignore[no-untyped-call]
            move(learner, adam, weights, rate=self.dream_lr)
        for weight in weights:
            weight.grad = None
        state.generator.eval()

    def _noise(self, learner: Learner) -> Tensor:
        return torch.randn((learner.batch, self.latent), generator=learner.generator("method")).to(learner.device)

    def step(self, learner: Learner, state: Dreams, batch: Batch) -> Tensor:
        net, labels = learner.net, batch.labels.to(learner.device)
        maps = net.encode(learner.augmented(batch))
        if state.teacher is None:
            loss = cross_entropy(net.classify(net.features(maps))[:, : learner.seen], labels)
            learner.descend(loss)
            return loss.detach()
        old, teacher = learner.stream.seen(learner.task - 1), state.teacher
        with torch.no_grad():
            noise = self._noise(learner)
            learner.meter.call(state.generator, noise.shape, training=False, part="generator")
            both = torch.cat([maps, state.generator(noise)])
            before = teacher.features(both)
            said = teacher.classify(before)[:, :old]
        features = net.features(both)
        told = net.classify(torch.cat([features[: len(batch)], features.detach()]))
        named = torch.cat([labels, said[len(batch) :].argmax(1)])
        moved = self._moved(learner, teacher, features - before)
        loss = cross_entropy(told[: len(batch), old : learner.seen], labels - old)
        loss = loss + cross_entropy(told[len(batch) :, : learner.seen], named) + self.distil * moved.square().mean()
        learner.descend(loss)
        return loss.detach()

    def _moved(self, learner: Learner, teacher: ContinualNet, apart: Tensor) -> Tensor:
        """Return by how much the old classifier's scores of old classes change where features are so far *apart* (n, d)."""
        old, size = learner.stream.seen(learner.task - 1), apart.shape[1]
        learner.did(elementwise_work(len(apart) * old, flops=4 * size, reads=2 + 2 * size / old, writes=1))  # there and back
        found: Tensor = apart @ teacher.model.classifier.weight[:old].T
        return found

    def end_task(self, learner: Learner, state: Dreams) -> None:
        state.teacher = None
