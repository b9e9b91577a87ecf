"""SI: synaptic intelligence, importances gathered along the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from toolkit.learning.flat import assign_gradient, weights
from toolkit.learning.importance import path_importance
from toolkit.methods.continual import Batch, ContinualMethod
from toolkit.methods.continual.learner import Learner

LARGEST_GRADIENT = 1.0


@dataclass
class Synapses:
    """All flat (d,)."""

    anchor: Tensor
    """Weights at the end of the last task, theta*."""
    path: Tensor
    """What each weight took off the loss in this task, omega."""
    importance: Tensor
    """Omega, of all tasks so far."""


@final
class Si(ContinualMethod[Synapses]):
    """CE(f(x), y) + c sum_i Omega_i (theta_i - theta*_i)^2.

    Each step adds g_i (theta_i before - theta_i after) to omega_i, with g the gradient of the cross-entropy alone; the end of a task adds
    omega / ((theta - theta*)^2 + xi) to Omega. Values of the gradient that is applied are clipped to +-1.

    Source: Zenke et al., *Continual Learning Through Synaptic Intelligence*, ICML 2017, eqs. (3) to (5); clipping as in the mammoth
    library.
    """

    replays: ClassVar[bool] = False
    blurs: ClassVar[bool] = True

    strength: float = Field(0.5, ge=0, description="weight c of the penalty")
    damping: float = Field(1.0, gt=0, description="xi, which bounds the importance of weights that hardly moved")

    def init(self, learner: Learner) -> Synapses:
        anchor = weights(learner.parameters)
        return Synapses(anchor, torch.zeros_like(anchor), torch.zeros_like(anchor))

    def step(self, learner: Learner, state: Synapses, batch: Batch) -> Tensor:
        (scores,) = learner.passes(learner.augmented(batch), batch.labels)
        loss = cross_entropy(scores, batch.labels)
        before = weights(learner.parameters)
        moved = before - state.anchor
        pull = self.strength * state.importance * moved
        gradient = learner.gradient_of(loss)
        assign_gradient(learner.parameters, (gradient + 2 * pull).clamp_(-LARGEST_GRADIENT, LARGEST_GRADIENT))
        learner.apply_gradient()
        state.path += gradient * (before - weights(learner.parameters))
        learner.over_weights(flops=10, reads=8, writes=3)  # penalty (5), clipping (2), path (3)
        learner.penalty = pull @ moved
        return loss.detach() + learner.penalty

    def end_task(self, learner: Learner, state: Synapses) -> None:
        now = weights(learner.parameters)
        state.importance += path_importance(state.path, now - state.anchor, self.damping)
        state.path.zero_()
        state.anchor = now
        learner.over_weights(flops=5, reads=4, writes=3)
