"""Online EWC: weights that past tasks need are held by springs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from toolkit.learning.flat import assign_gradient, weights
from toolkit.learning.importance import fisher_of
from toolkit.methods.continual import Batch, ContinualMethod
from toolkit.methods.continual.bulk import evaluating
from toolkit.methods.continual.learner import Learner


@dataclass
class Springs:
    """Where the weights were at the end of the last task, and how much they matter; both flat (d,)."""

    anchor: Tensor | None = None
    fisher: Tensor | None = None


@final
class Oewc(ContinualMethod[Springs]):
    """CE(f(x), y) + lambda sum_i F_i (theta_i - theta*_i)^2.

    At the end of a task F <- gamma F + mean_x p(y|x) (d log p(y|x) / d theta)^2 over its samples and theta* <- theta, which takes a
    gradient of every single sample.

    Source: Schwarz et al., *Progress & Compress*, ICML 2018, with the weights p(y|x) of the mammoth library. Departure: the gradients of
    single samples are taken in eval mode on images that are not augmented, as BatchNorm would normalise a sample by itself.
    """

    replays: ClassVar[bool] = False
    blurs: ClassVar[bool] = True

    strength: float = Field(10.0, ge=0, description="weight lambda of the penalty")
    gamma: float = Field(1.0, ge=0, le=1, description="share of the old importances that a new task leaves")

    def init(self, learner: Learner) -> Springs:
        return Springs()

    def step(self, learner: Learner, state: Springs, batch: Batch) -> Tensor:
        (scores,) = learner.passes(learner.augmented(batch), batch.labels)
        loss = cross_entropy(scores, batch.labels)
        if state.fisher is None or state.anchor is None:
            learner.descend(loss)
            return loss.detach()
        moved = weights(learner.parameters) - state.anchor
        pull = self.strength * state.fisher * moved
        assign_gradient(learner.parameters, learner.gradient_of(loss) + 2 * pull)
        learner.over_weights(flops=5, reads=4, writes=1)  # weight, anchor, importance and gradient
        learner.apply_gradient()
        learner.penalty = pull @ moved
        return loss.detach() + learner.penalty

    def end_task(self, learner: Learner, state: Springs) -> None:
        samples = learner.stream.train(learner.task)
        with evaluating(learner.net), torch.no_grad():
            total = torch.zeros(learner.net.size, device=learner.device)
            for part in learner.parts(torch.arange(len(samples)), learner.batch):
                maps = learner.net.encode(learner.clean(samples.images[part]))
                total += fisher_of(learner.net.sample_gradients(maps, samples.labels[part]))
                learner.over_weights(flops=3 * len(part), reads=2 * len(part), writes=len(part))  # squared, weighted, added up
        fisher = total / len(samples)
        learner.over_weights(flops=2, reads=2, writes=1)
        state.fisher = fisher if state.fisher is None else self.gamma * state.fisher + fisher
        state.anchor = weights(learner.parameters)
