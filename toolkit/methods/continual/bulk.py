"""Passes over many samples at once, between tasks: in eval mode, in batches of the learner's size, counted as everything is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.network import ContinualNet


@contextmanager
def evaluating(net: ContinualNet) -> Iterator[None]:
    """Keep *net* in eval mode, where BatchNorm uses its running statistics and leaves them as they are."""
    training = net.training
    net.eval()
    yield
    net.train(training)


@torch.no_grad()
def scores_of(learner: Learner, images: Tensor) -> Tensor:
    """Return the scores (n, K) of uint8 *images*."""
    with evaluating(learner.net):
        return torch.cat([learner.net.scores(learner.net.encode(learner.clean(part))) for part in torch.split(images, learner.batch)])


@torch.no_grad()
def unit_features(learner: Learner, maps: Tensor) -> Tensor:
    """Return the features (n, d) of *maps*, each scaled to length 1."""
    with evaluating(learner.net):
        found = torch.cat([learner.net.features(part) for part in torch.split(maps, learner.batch)])
    return torch.nn.functional.normalize(found)
