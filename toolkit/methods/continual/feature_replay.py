"""Replay of generated features: the generator's own training after a task, and what it makes of old classes."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from toolkit.learning.adam import Adam
from toolkit.learning.feature_gan import FeatureGan
from toolkit.learning.feature_vae import FeatureVae, Judged
from toolkit.learning.loss_work import loss_work, place_of
from toolkit.methods.continual.adam_steps import move
from toolkit.methods.continual.batch import Batch
from toolkit.methods.continual.bulk import evaluating
from toolkit.methods.continual.learner import Learner


@dataclass(frozen=True)
class Coding:
    """How a generator is trained."""

    epochs: int
    rate: float
    task_oriented: float
    """Weight lambda of the frozen classifier's cross-entropies."""
    alignment: float
    """Weight of the distance to the old generator."""
    cached: bool
    """Whether features are taken once, of images as they are, instead of anew in each epoch, of augmented ones."""


def ratio(learner: Learner) -> float:
    """Return rho: old classes over new ones of the present task; 0 in the first."""
    return learner.stream.seen(learner.task - 1) / len(learner.task_classes) if learner.task else 0.0


def codes(learner: Learner, vae: FeatureVae | FeatureGan, count: int) -> tuple[Tensor, Tensor]:
    """Draw *count* latents with old classes; return both side by side, (count, latent + K), and the classes."""
    generator = learner.generator("method")
    labels = torch.randint(learner.stream.seen(learner.task - 1), (count,), generator=generator)
    noise = torch.randn((count, vae.latent), generator=generator)
    return torch.cat([noise, one_hot(labels, vae.num_classes).float()], 1).to(learner.device), labels.to(learner.device)


@torch.no_grad()
def replayed(learner: Learner, vae: FeatureVae | FeatureGan, count: int) -> tuple[Tensor, Tensor]:
    """Return *count* generated features of old classes, and the classes."""
    given, labels = codes(learner, vae, count)
    learner.meter.call(vae, given.shape, "decode", training=False, part="generator")
    return vae.decode(given), labels


def train_generator(learner: Learner, vae: FeatureVae, coding: Coding, *, named: int) -> None:
    """Train *vae* on the features of the present task, warm-started, against the frozen classifier, whose first *named* scores count.

    L = (1/B) |f - f'|^2 + (1/B) KL(N(mu, sigma) || N(0, I)) + lambda (CE(C(f'), y) + rho CE(C(G(z, c)), c)) / (rho + 1)
        + alignment rho |G(z, c) - G_old(z, c)|^2
    """
    samples, net, rho = learner.stream.train(learner.task), learner.net, ratio(learner)
    old = copy.deepcopy(vae).requires_grad_(False) if rho else None
    judged = Judged(vae, copy.deepcopy(net.model.classifier).requires_grad_(False))
    weights = list(vae.parameters())
    adam, generator = Adam.of(weights), learner.generator("method")

    def features(chosen: Tensor) -> Tensor:
        batch = Batch(samples.images[chosen], samples.labels[chosen], chosen)
        images = learner.clean(batch.images) if coding.cached else learner.augmented(batch)
        with torch.no_grad(), evaluating(net):
            return net.features(net.encode(images))

    known = None
    if coding.cached:
        known = torch.zeros((len(samples), net.feature_size), device=learner.device)
        for chosen in learner.parts(torch.arange(len(samples)), learner.batch):
            known[chosen] = features(chosen)
    for _ in learner.repeated(coding.epochs):
        for chosen in learner.parts(torch.randperm(len(samples), generator=generator), learner.batch):
            real, labels = known[chosen] if known is not None else features(chosen), samples.labels[chosen].to(learner.device)
            loss = _loss(learner, judged, old, real, labels, coding, named=named)
            for weight in weights:
                weight.grad = None
            loss.backward()  # type: ignore[no-untyped-call]
            move(learner, adam, weights, rate=coding.rate)
    for weight in weights:
        weight.grad = None


def _loss(
    learner: Learner, judged: Judged, old: FeatureVae | None, real: Tensor, labels: Tensor, coding: Coding, *, named: int
) -> Tensor:
    vae, rho, size = judged.vae, ratio(learner), len(real)
    answers: set[int] = set()
    noise = torch.randn((size, vae.latent), generator=learner.generator("method")).to(real.device)
    given = torch.cat([real, one_hot(labels, vae.num_classes).float(), noise], 1)
    learner.meter.call(judged, given.shape, "reconstruct", training=True, part="generator")
    made, scores, mean, log_variance = judged.reconstruct(given)
    answers.update(place for made_by in (made, scores, mean, log_variance) if (place := place_of(made_by)) is not None)
    loss = (made - real).square().sum() / size - 0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum() / size
    if coding.task_oriented:
        loss = loss + coding.task_oriented / (rho + 1) * cross_entropy(scores[:, :named], labels)
    if old is not None and (coding.task_oriented or coding.alignment):
        drawn, classes = codes(learner, vae, size)
        learner.meter.call(judged, drawn.shape, "generate", training=True, part="generator")
        made, scores = judged.generate(drawn)
        answers.update(place for made_by in (made, scores) if (place := place_of(made_by)) is not None)
        if coding.task_oriented:
            loss = loss + coding.task_oriented * rho / (rho + 1) * cross_entropy(scores[:, :named], classes)
        if coding.alignment:
            learner.meter.call(old, drawn.shape, "decode", training=False, part="generator")
            with torch.no_grad():
                before = old.decode(drawn)
            loss = loss + coding.alignment * rho * (made - before).square().sum()
    learner.did(loss_work(loss, answers)[0])
    return loss
