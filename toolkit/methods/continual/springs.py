"""What EWC and MAS share: weights that past tasks need are held by springs, (lambda / 2) sum_i F_i (theta_i - theta*_i)^2."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import cross_entropy

from toolkit.learning.flat import assign_gradient, weights
from toolkit.methods.continual.batch import Batch
from toolkit.methods.continual.learner import Learner


@dataclass
class Springs:
    """Where the weights were at the end of the last task, and how much they matter; both flat (d,), None in the first task."""

    anchor: Tensor | None = None
    importance: Tensor | None = None

    def hold(self, learner: Learner, importance: Tensor) -> None:
        """Anchor the weights where they are, and add *importance* to that of past tasks."""
        self.importance = importance if self.importance is None else self.importance + importance
        self.anchor = weights(learner.parameters)


def held_step(learner: Learner, state: Springs, batch: Batch, strength: float) -> Tensor:
    """Descend the cross-entropy among the classes seen and the springs; return the loss."""
    (scores,) = learner.passes(learner.augmented(batch), batch.labels)
    loss = cross_entropy(scores[:, : learner.seen], batch.labels)
    if state.importance is None or state.anchor is None:
        learner.descend(loss)
        return loss.detach()
    moved = weights(learner.parameters) - state.anchor
    pull = strength * state.importance * moved
    assign_gradient(learner.parameters, learner.gradient_of(loss) + pull)
    learner.over_weights(flops=4, reads=4, writes=1)  # weight, anchor, importance and gradient
    learner.apply_gradient()
    learner.penalty = 0.5 * pull @ moved
    return loss.detach() + learner.penalty
