"""A-GEM: steps that do not raise the average loss on remembered samples."""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from toolkit.core.work import Work
from toolkit.errors import ScenarioError
from toolkit.learning.flat import assign_gradient, gradient_of
from toolkit.learning.projection import project_half_space
from toolkit.learning.rings import Rings
from toolkit.methods.continual import Batch, Method, Plan
from toolkit.methods.continual.costs import Prices
from toolkit.methods.continual.learner import Learner


@final
class AGem(Method):
    """The gradient g of CE(f(x), y), from which the part that opposes r is taken: g - (g.r / r.r) r wherever g.r < 0.

    r is the gradient of the cross-entropy of samples drawn from the memories of past tasks, equal shares of the whole. A gradient of its
    own is a pass of its own, so `bn` makes no difference here: BatchNorm sees the present samples, then the remembered ones.

    Source: Chaudhry et al., *Efficient Lifelong Learning with A-GEM*, ICLR 2019, eq. (11) and algorithm 2.
    """

    def check(self, plan: Plan) -> None:
        if plan.capacity < plan.tasks:
            raise ScenarioError(f"program.buffer.images: {plan.tasks} tasks need a memory of as many samples (got {plan.capacity})")

    def init(self, learner: Learner) -> Rings:
        return Rings.among(learner.stream.tasks, learner.memory().capacity)

    def begin_task(self, learner: Learner, state: Rings) -> None:
        state.open(len(learner.memory()))

    def step(self, learner: Learner, state: Rings, batch: Batch) -> Tensor:
        (scores,) = learner.passes(learner.augmented(batch), batch.labels)
        loss = cross_entropy(scores, batch.labels)
        past = state.begins[-1]
        if past:
            gradient = gradient_of(loss, learner.parameters)
            drawn = torch.randperm(past, generator=learner.generator("method"))[: learner.replay_size]
            maps, stored = learner.recall(drawn)
            reference = gradient_of(cross_entropy(learner.net.scores(maps), stored.labels), learner.parameters)
            assign_gradient(learner.parameters, project_half_space(gradient, reference))
            learner.did(_projection(learner.net.prices))
            learner.apply_gradient()
        else:
            learner.descend(loss)
        taken, slots = state.turn(len(batch))
        learner.place(slots, batch.images[taken], batch.labels[taken])
        return loss.detach()

    def step_work(self, plan: Plan) -> Work:
        work = plan.passes(plan.batch) + plan.prices.update()
        replayed = round(self.draws(plan))
        return work + plan.prices.scores(replayed) + _projection(plan.prices) if replayed else work

    def draws(self, plan: Plan) -> float:
        return float(min(plan.replay, plan.task * (plan.capacity // plan.tasks)))

    def offers(self, plan: Plan) -> float:
        return float(min(plan.batch, plan.capacity // plan.tasks))

    def writes(self, plan: Plan, offered: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.full_like(offered, self.offers(plan))

    def extra_bytes(self, plan: Plan) -> float:
        return 4.0 * plan.prices.parameters


def _projection(prices: Prices) -> Work:
    """Two dot products and a difference."""
    return prices.vectors(6, 6, 1)
