"""GEM: steps that raise the loss on no past task's remembered samples."""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from toolkit.core.work import Work
from toolkit.errors import ScenarioError
from toolkit.learning.flat import assign_gradient, gradient_of
from toolkit.learning.projection import project_cone
from toolkit.learning.rings import Rings
from toolkit.methods.continual import Batch, Method, Plan
from toolkit.methods.continual.costs import Prices
from toolkit.methods.continual.learner import Learner


@final
class Gem(Method):
    """The gradient g of CE(f(x), y), moved to g + G'v where it opposes the gradient g_k of any past task's memory.

    v minimises v'GG'v / 2 + (Gg)'v over v >= margin, so that the result opposes no g_k. Each task has an equal share of the memory, the
    ring of its last samples. Every gradient is a pass of its own, so `bn` makes no difference here.

    Source: Lopez-Paz, Ranzato, *Gradient Episodic Memory for Continual Learning*, NeurIPS 2017, algorithm 1 and eq. (11). Departure: the
    cross-entropy of a past task is among all classes, as in the mammoth library.
    """

    margin: float = Field(0.5, ge=0, description="least weight of each past gradient in a changed step (gamma)")

    def check(self, plan: Plan) -> None:
        if plan.capacity < plan.tasks:
            raise ScenarioError(f"program.buffer.images: {plan.tasks} tasks need a memory of as many samples (got {plan.capacity})")

    def init(self, learner: Learner) -> Rings:
        return Rings.among(learner.stream.tasks, learner.memory().capacity)

    def begin_task(self, learner: Learner, state: Rings) -> None:
        state.open(len(learner.memory()))

    def step(self, learner: Learner, state: Rings, batch: Batch) -> Tensor:
        references = []
        for slots in state.past():
            maps, stored = learner.recall(slots)
            references.append(gradient_of(cross_entropy(learner.net.scores(maps), stored.labels), learner.parameters))
        (scores,) = learner.passes(learner.augmented(batch), batch.labels)
        loss = cross_entropy(scores, batch.labels)
        if references:
            gradient = project_cone(gradient_of(loss, learner.parameters), torch.stack(references), self.margin)
            assign_gradient(learner.parameters, gradient)
            learner.did(_projection(learner.net.prices, len(references)))
            learner.apply_gradient()
        else:
            learner.descend(loss)
        taken, slots = state.turn(len(batch))
        learner.place(slots, batch.images[taken], batch.labels[taken])
        return loss.detach()

    def step_work(self, plan: Plan) -> Work:
        work = plan.passes(plan.batch) + plan.prices.update()
        if plan.task:
            work += plan.prices.scores(plan.capacity // plan.tasks).times(plan.task) + _projection(plan.prices, plan.task)
        return work

    def draws(self, plan: Plan) -> float:
        return float(plan.task * (plan.capacity // plan.tasks))

    def offers(self, plan: Plan) -> float:
        return float(min(plan.batch, plan.capacity // plan.tasks))

    def writes(self, plan: Plan, offered: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.full_like(offered, self.offers(plan))

    def extra_bytes(self, plan: Plan) -> float:
        return 4.0 * plan.prices.parameters * (plan.task + 1)


def _projection(prices: Prices, past: int) -> Work:
    """The products Gg and GG' and the sum g + G'v, as if no step could be left as it is."""
    return prices.vectors(2 * past + past * (past + 1) + 2 * past, 3 * past, 1)
