"""Online EWC: weights that past tasks need are held by springs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from toolkit.core.work import Work
from toolkit.learning.flat import assign_gradient, gradient_of, weights
from toolkit.learning.importance import chunk_size, fisher_sum
from toolkit.methods.continual import Batch, Method, Plan
from toolkit.methods.continual.bulk import evaluating
from toolkit.methods.continual.costs import Call, Prices
from toolkit.methods.continual.learner import Learner


@dataclass
class Springs:
    """Where the weights were at the end of the last task, and how much they matter; both flat (d,)."""

    anchor: Tensor | None = None
    fisher: Tensor | None = None


@final
class Oewc(Method):
    """CE(f(x), y) + lambda sum_i F_i (theta_i - theta*_i)^2.

    At the end of a task F <- gamma F + mean_x p(y|x) (d log p(y|x) / d theta)^2 over its samples and theta* <- theta, which takes a
    gradient of every single sample.

    Source: Schwarz et al., *Progress & Compress*, ICML 2018, with the weights p(y|x) of the mammoth library. Departure: the gradients of
    single samples are taken in eval mode on images that are not augmented, as BatchNorm would normalise a sample by itself.
    """

    replays: ClassVar[bool] = False

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
        assign_gradient(learner.parameters, gradient_of(loss, learner.parameters) + 2 * pull)
        learner.did(_penalty(learner.net.prices))
        learner.apply_gradient()
        return loss.detach() + pull @ moved

    def end_task(self, learner: Learner, state: Springs) -> None:
        samples = learner.stream.train(learner.task)
        prices = learner.net.prices
        with evaluating(learner.net), torch.no_grad():
            total = torch.zeros(prices.parameters)
            for images, labels in zip(torch.split(samples.images, learner.batch), torch.split(samples.labels, learner.batch), strict=True):
                total += fisher_sum(Call(learner.net, "plain_scores"), learner.net.encode(learner.clean(images)), labels)
        fisher = total / len(samples)
        learner.did(_single(prices).times(len(samples)) + prices.vectors(2, 2, 1))
        state.fisher = fisher if state.fisher is None else self.gamma * state.fisher + fisher
        state.anchor = weights(learner.parameters)

    def step_work(self, plan: Plan) -> Work:
        work = plan.passes(plan.batch) + plan.prices.update()
        return work + _penalty(plan.prices) if plan.task > 0 else work

    def boundary_work(self, plan: Plan) -> Work:
        encoded = plan.prices.encode(plan.task_samples)
        return _single(plan.prices).times(plan.task_samples) + plan.prices.vectors(2, 2, 1) + encoded

    def extra_bytes(self, plan: Plan) -> float:
        return 4.0 * plan.prices.parameters * (2 + chunk_size(plan.prices.parameters))


def _penalty(prices: Prices) -> Work:
    """Difference, twice a product, and a sum: for each weight five operations on weight, anchor, importance and gradient."""
    return prices.vectors(5, 4, 1)


def _single(prices: Prices) -> Work:
    """One sample's gradient, squared, weighted and added up."""
    return prices.scores(1) + prices.vectors(3, 2, 1)
