"""Training of the generator of GFR in its published form, a conditional WGAN-GP of features."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from toolkit.learning.adam import Adam
from toolkit.learning.feature_gan import FeatureGan
from toolkit.learning.loss_work import loss_work, place_of
from toolkit.learning.meter import elementwise_work
from toolkit.methods.continual.adam_steps import move
from toolkit.methods.continual.bulk import evaluating
from toolkit.methods.continual.feature_replay import Coding, codes, ratio
from toolkit.methods.continual.learner import Learner

PENALTY = 10.0
"""Weight of (slope - 1)^2 in the critic's loss."""
CRITIC_STEPS = 5
"""Batches that the critic learns from for each that the generator learns from."""


def train_gan(learner: Learner, gan: FeatureGan, coding: Coding) -> None:
    """Train *gan* on the features of the present task, taken once, warm-started.

    The critic descends D(G(z, y), y) - D(f, y) + 10 (|dD/df| - 1)^2, the slope taken between both; after every five of its steps the
    generator descends -D(G(z, y), y) + alignment rho |G(z, c) - G_old(z, c)|^2 of old classes c.
    """
    samples, net, rho, generator = learner.stream.train(learner.task), learner.net, ratio(learner), learner.generator("method")
    old = copy.deepcopy(gan).requires_grad_(False) if rho else None
    judges, makers = list(gan.critic.parameters()), list(gan.decoder.parameters())
    adams = Adam.of(judges), Adam.of(makers)
    known = torch.zeros((len(samples), net.feature_size), device=learner.device)
    with torch.no_grad(), evaluating(net):
        for chosen in learner.parts(torch.arange(len(samples)), learner.batch):
            known[chosen] = net.features(net.encode(learner.clean(samples.images[chosen])))
    for _ in learner.repeated(coding.epochs):
        for chosen in learner.parts(torch.randperm(len(samples), generator=generator), learner.batch):
            hot = one_hot(samples.labels[chosen], gan.num_classes).float().to(learner.device)
            for _ in learner.repeated(CRITIC_STEPS):
                _descend(learner, adams[0], judges, _critic_loss(learner, gan, known[chosen], hot), coding.rate)
            _descend(learner, adams[1], makers, _generator_loss(learner, gan, old, hot, coding.alignment * rho), coding.rate)
    for weight in gan.parameters():
        weight.grad = None


def _descend(learner: Learner, adam: Adam, weights: Sequence[Tensor], found: tuple[Tensor, set[int]], rate: float) -> None:
    loss, counted = found
    learner.did(loss_work(loss, counted)[0])
    gradients = torch.autograd.grad(loss, weights)
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient
    move(learner, adam, weights, rate=rate)
    for weight in weights:
        weight.grad = None


def _noise(learner: Learner, gan: FeatureGan, hot: Tensor) -> Tensor:
    """Return latents beside the one-hot classes *hot*, (n, latent + K)."""
    noise = torch.randn((len(hot), gan.latent), generator=learner.generator("method"))
    return torch.cat([noise.to(hot.device), hot], 1)


def _critic_loss(learner: Learner, gan: FeatureGan, real: Tensor, hot: Tensor) -> tuple[Tensor, set[int]]:
    given = _noise(learner, gan, hot)
    learner.meter.call(gan, given.shape, "decode", training=False, part="generator")
    with torch.no_grad():
        made = gan.decode(given)
    share = torch.rand((len(real), 1), generator=learner.generator("method")).to(real.device)
    learner.did(elementwise_work(real.numel(), flops=3, reads=2, writes=1, launches=1))
    both = torch.cat([torch.cat([made, real]), torch.cat([hot, hot])], 1)
    between = torch.cat([made.lerp(real, share), hot], 1)
    learner.meter.call(gan.critic, both.shape, training=True, part="generator")
    learner.meter.call(gan.critic, between.shape, "steepness", training=True, part="generator")
    thought, steepness = gan.critic(both), gan.critic.steepness(between)
    loss = thought[: len(made)].mean() - thought[len(made) :].mean() + PENALTY * (steepness - 1).square().mean()
    return loss, _places(thought, steepness)


def _generator_loss(learner: Learner, gan: FeatureGan, old: FeatureGan | None, hot: Tensor, pull: float) -> tuple[Tensor, set[int]]:
    given = _noise(learner, gan, hot)
    learner.meter.call(gan, given.shape, "judged", training=True, part="generator")
    _, thought = gan.judged(given)
    loss, counted = -thought.mean(), _places(thought)
    if old is not None and pull:
        drawn, _ = codes(learner, gan, len(hot))
        learner.meter.call(gan, drawn.shape, "decode", training=True, part="generator")
        learner.meter.call(old, drawn.shape, "decode", training=False, part="generator")
        made = gan.decode(drawn)
        with torch.no_grad():
            before = old.decode(drawn)
        loss, counted = loss + pull * (made - before).square().sum(), counted | _places(made)
    return loss, counted


def _places(*answers: Tensor) -> set[int]:
    return {place for answer in answers if (place := place_of(answer)) is not None}
