"""GFR: generative feature replay, the ancestor of eTag."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from toolkit.datasets.streams import Stream
from toolkit.learning.adam import Adam
from toolkit.learning.feature_gan import FeatureGan
from toolkit.learning.feature_vae import FeatureVae
from toolkit.learning.plain_state import restored
from toolkit.methods.continual import Batch, ContinualMethod
from toolkit.methods.continual.adam_steps import adam_step
from toolkit.methods.continual.bases import check_bases
from toolkit.methods.continual.feature_replay import Coding, ratio, replayed, train_generator
from toolkit.methods.continual.gan_replay import train_gan
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.network import ContinualNet
from toolkit.methods.continual.teacher import as_teacher, frozen_copy
from toolkit.models import fresh


@dataclass
class Generation:
    """What lasts between steps."""

    vae: FeatureVae | FeatureGan
    adam: Adam
    teacher: ContinualNet | None = None


@final
class Gfr(ContinualMethod[Generation]):
    """CE(C(F(x)), y) + rho CE(C(G(z, c)), c) + lambda rho |F(x) - F'(x)|, BatchNorm frozen after the first task; rho = old / new classes.

    Source: Liu et al., *Generative Feature Replay for Class-Incremental Learning*, CVPR workshops 2020. The source's generator is
    a conditional WGAN-GP (`generator: wgan`); eTag's authors use the conditional autoencoder for it (`vae`). Departures: the generator's
    features are taken once, of images that are not augmented; its layers are those of eTag's decoder.
    """

    replays: ClassVar[bool] = False

    generator: Literal["vae", "wgan"] = Field("vae", description="a conditional autoencoder, or the source's conditional WGAN-GP")
    distil: float = Field(1.0, ge=0, description="weight lambda of the feature distance")
    alignment: float = Field(1e-3, ge=0, description="weight of the distance between new and old generator on old classes")
    generator_epochs: int = Field(60, ge=1, description="epochs of the generator after each task")
    generator_lr: float = Field(1e-3, gt=0, description="learning rate of the generator")
    hidden: int = Field(512, ge=1, le=65_536, description="width of the generator's layers")
    latent: int = Field(200, ge=1, le=65_536, description="size of its latents")
    weight_decay: float = Field(2e-4, ge=0, description="weight decay of the solver")

    def check(self, stream: Stream, capacity: int) -> None:
        check_bases(stream, "gfr")

    def init(self, learner: Learner) -> Generation:
        size, generator = learner.net.feature_size, learner.generator("generator")
        kind = FeatureVae if self.generator == "vae" else FeatureGan
        vae: FeatureVae | FeatureGan = fresh(lambda: kind(size, learner.num_classes, self.hidden, self.latent), generator)
        return Generation(vae.to(learner.device), Adam())

    def resume(self, learner: Learner, begun: Generation, kept: Any) -> Generation:
        if kept["teacher"] is not None:
            begun.teacher = as_teacher(copy.deepcopy(learner.net))
        return restored(begun, kept)

    def begin_task(self, learner: Learner, state: Generation) -> None:
        if learner.task:
            learner.net.eval()
            state.teacher = frozen_copy(learner)
        state.adam = Adam.of(learner.parameters)

    def step(self, learner: Learner, state: Generation, batch: Batch) -> Tensor:
        net, labels = learner.net, batch.labels.to(learner.device)
        maps = net.encode(learner.augmented(batch))
        features = net.features(maps)
        loss = cross_entropy(net.classify(features)[:, : learner.seen], labels)
        if state.teacher is not None:
            rho = ratio(learner)
            made, classes = replayed(learner, state.vae, learner.batch)
            with torch.no_grad():
                before = state.teacher.features(maps)
            loss = loss + rho * cross_entropy(net.classify(made)[:, : learner.seen], classes)
            loss = loss + self.distil * rho * torch.linalg.vector_norm(features - before)
        return adam_step(learner, state.adam, loss, self.weight_decay)

    def decoder(self, state: Generation) -> nn.Module:
        return state.vae.decoder

    def end_task(self, learner: Learner, state: Generation) -> None:
        state.teacher, state.adam = None, Adam()
        if learner.task < learner.stream.tasks - 1:
            coding = Coding(self.generator_epochs, self.generator_lr, 0.0, self.alignment, cached=True)
            if isinstance(state.vae, FeatureGan):
                train_gan(learner, state.vae, coding)
            else:
                train_generator(learner, state.vae, coding, named=learner.seen)
