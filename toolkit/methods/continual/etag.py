"""eTag: a solver held by the embeddings of its stages, and a generator of the features that its classifier needs."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax

from toolkit.datasets.streams import Stream
from toolkit.errors import ScenarioError
from toolkit.learning.adam import Adam
from toolkit.learning.feature_vae import FeatureVae
from toolkit.learning.meter import elementwise_work
from toolkit.learning.plain_state import restored
from toolkit.methods.continual import Batch, ContinualMethod
from toolkit.methods.continual.adam_steps import adam_step, fallen
from toolkit.methods.continual.auxiliary_net import AuxiliaryNet, auxiliary_net, joint_labels, turned
from toolkit.methods.continual.bases import check_bases
from toolkit.methods.continual.feature_replay import Coding, ratio, replayed, train_generator
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.network import ContinualNet
from toolkit.methods.continual.teacher import as_teacher
from toolkit.models import fresh
from toolkit.models.resnet import ResNet


@dataclass
class Generation:
    """What lasts between the steps of eTag."""

    vae: FeatureVae
    adam: Adam
    """Of the solver, anew in each task."""
    teacher: AuxiliaryNet | None = None
    """The network as it was when the present task began; None in the first task, and between tasks."""


@final
class Etag(ContinualMethod[Generation]):
    """Task 0: CE(C(F(x)), y) + sum_b CE(A_b(f_b(x~)), y~), x~ being the rotations of x and y~ = (class, rotation).

    Later, with rho = old classes / new classes and BatchNorm frozen:

        CE(C(F(x)), y) / (rho + 1) + rho CE(C(G(z, c)), c) / (rho + 1)
        + lambda rho (sum_b tau^2 KL(teacher's A_b || A_b) + |F(x~) - F'(x~)|)

    After each task but the last the generator G, a conditional autoencoder of features, is trained against the frozen classifier
    (`toolkit.methods.continual.feature_replay`). No sample and no prototype is kept. Weights move by Adam at `program.lr`.

    Source: Huang et al., *eTag: Class-Incremental Learning via Embedding Distillation and Task-Oriented Generation*, AAAI 2024, arXiv
    2304.10103, after its abstract, appendix and published code; the body of the paper was not at hand. Departures: rho is a fraction where
    tasks are uneven; scores of classes not seen are masked (`mask_unseen`: false is the published form); features of the generator's stage
    are taken once (`cached`: false takes them anew); the head on the last stage, which is never distilled, is left out unless `heads` asks
    for it; epochs of the solver are `budget.epochs`.
    """

    replays: ClassVar[bool] = False

    rotations: Literal[1, 2, 4] = Field(4, description="views of an image: 0, 90, 180, 270 degrees; 0 and 180; or upright alone")
    heads: tuple[int, ...] | None = Field(None, description="stages with an auxiliary head, from 1; without it all but the last")
    distil: float = Field(1.0, ge=0, description="weight lambda of block distillation and feature distance")
    block_kl: bool = Field(True, description="distil the posteriors of the auxiliary heads, of all stages but the last")
    feature_distance: bool = Field(True, description="hold the features of new images where the last network had them")
    temperature: float = Field(3.0, gt=0, description="temperature tau of the distilled posteriors")
    replay_features: bool = Field(True, description="let the classifier see generated features of old classes")
    task_oriented: float = Field(1.0, ge=0, description="weight of the frozen classifier's word in the generator's loss; 0: none")
    alignment: float = Field(1e-3, ge=0, description="weight of the distance between new and old generator on old classes")
    generator_epochs: int = Field(60, ge=1, description="epochs of the generator after each task")
    generator_lr: float = Field(1e-3, gt=0, description="learning rate of the generator")
    hidden: int = Field(512, ge=1, le=65_536, description="width of the generator's layers")
    latent: int = Field(200, ge=1, le=65_536, description="size of its latents")
    cached: bool = Field(True, description="take the generator's features once a task, instead of anew in every epoch of augmented images")
    mask_unseen: bool = Field(True, description="leave scores of classes not seen yet out of every softmax")
    weight_decay: float = Field(2e-4, ge=0, description="weight decay of the solver")
    decay_every: int = Field(30, ge=1, description="epochs after which the solver's learning rate falls to a tenth")

    def network(self, model: nn.Module, image_shape: tuple[int, int, int], weights: Generator) -> ContinualNet:
        if self.rotations == 4 and image_shape[1] != image_shape[2]:
            shape = f"{image_shape[1]}x{image_shape[2]}"
            raise ScenarioError(f"program.method.rotations: 4 turns images by 90 degrees, and those of {shape} are not square; use 2 or 1")
        stages = self._stages(len(model.stages)) if isinstance(model, ResNet) else ()
        return AuxiliaryNet(model, image_shape, stages=stages, views=self.rotations, weights=weights)

    def _stages(self, count: int) -> tuple[int, ...]:
        return tuple(range(1, count)) if self.heads is None else self.heads

    def check(self, stream: Stream, capacity: int) -> None:
        check_bases(stream, "etag")

    def init(self, learner: Learner) -> Generation:
        size, generator = learner.net.feature_size, learner.generator("generator")
        vae = fresh(lambda: FeatureVae(size, learner.num_classes, self.hidden, self.latent), generator)
        return Generation(vae.to(learner.device), Adam())

    def resume(self, learner: Learner, begun: Generation, kept: Any) -> Generation:
        if kept["teacher"] is not None:
            begun.teacher = as_teacher(copy.deepcopy(auxiliary_net(learner)))
        return restored(begun, kept)

    def begin_task(self, learner: Learner, state: Generation) -> None:
        if learner.task:
            learner.net.eval()  # BatchNorm stays as the first task left it
            state.teacher = as_teacher(copy.deepcopy(auxiliary_net(learner)))
            learner.over_weights(flops=0, reads=1, writes=1)
        state.adam = Adam.of(learner.parameters)

    def step(self, learner: Learner, state: Generation, batch: Batch) -> Tensor:
        images = learner.net.encode(learner.augmented(batch))
        views = turned(images, self.rotations)
        learner.did(elementwise_work(views.numel(), flops=0, reads=1, writes=1, launches=self.rotations))
        loss = self._base_loss(learner, views, batch) if state.teacher is None else self._loss(learner, state, views, batch)
        return adam_step(learner, state.adam, loss, self.weight_decay, rate=fallen(learner, self.decay_every))

    def _named(self, learner: Learner) -> int:
        return learner.seen if self.mask_unseen else learner.num_classes

    def _base_loss(self, learner: Learner, views: Tensor, batch: Batch) -> Tensor:
        net, named = auxiliary_net(learner), self._named(learner)
        labels = batch.labels.to(learner.device)
        features, *told = net.embed(views, tuple(map(int, net.heads)))
        loss = cross_entropy(net.classify(features[: len(batch)])[:, :named], labels)
        joint = joint_labels(labels, self.rotations)
        for scores in told:
            loss = loss + cross_entropy(scores[:, : self.rotations * named], joint)
        return loss

    def _loss(self, learner: Learner, state: Generation, views: Tensor, batch: Batch) -> Tensor:
        net, teacher, named, rho = auxiliary_net(learner), state.teacher, self._named(learner), ratio(learner)
        assert teacher is not None
        last = len(net.model.stages)
        distils, holds = self.block_kl and self.distil > 0, self.feature_distance and self.distil > 0
        stages = tuple(stage for stage in map(int, net.heads) if stage != last) if distils else ()
        if not stages and not holds:
            views = views[: len(batch)]
        features, *told = net.embed(views, stages)
        loss = cross_entropy(net.classify(features[: len(batch)])[:, :named], batch.labels.to(learner.device)) / (rho + 1)
        if self.replay_features:
            made, classes = replayed(learner, state.vae, learner.batch)
            loss = loss + rho / (rho + 1) * cross_entropy(net.classify(made)[:, :named], classes)
        if stages or holds:
            with torch.no_grad():
                before, *said = teacher.embed(views, stages)
            known = learner.stream.seen(0) if self.mask_unseen else learner.num_classes  # heads have learnt the first task's classes alone
            loss = loss + self.distil * rho * embedding_loss(
                [scores[:, : self.rotations * known] for scores in told], [scores[:, : self.rotations * known] for scores in said],
                self.temperature,
            )
            if holds:
                loss = loss + self.distil * rho * torch.linalg.vector_norm(features - before)
        return loss

    def decoder(self, state: Generation) -> nn.Module:
        return state.vae.decoder

    def end_task(self, learner: Learner, state: Generation) -> None:
        state.teacher, state.adam = None, Adam()
        if learner.task < learner.stream.tasks - 1 and self.replay_features:
            coding = Coding(self.generator_epochs, self.generator_lr, self.task_oriented, self.alignment, self.cached)
            train_generator(learner, state.vae, coding, named=self._named(learner))


def embedding_loss(told: Sequence[Tensor], said: Sequence[Tensor], temperature: float) -> Tensor:
    """Return sum_b tau^2 KL(softmax(said_b / tau) || softmax(told_b / tau)), the mean over samples; 0 of no heads."""
    return sum((
        temperature**2 * kl_div(log_softmax(ours / temperature, 1), softmax(theirs / temperature, 1), reduction="batchmean")
        for ours, theirs in zip(told, said, strict=True)
    ), start=torch.zeros(()))
