"""MAS: weights are held by how much they move the answers, labels unseen."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from pydantic import Field
from torch import Tensor

from toolkit.methods.continual import Batch, ContinualMethod
from toolkit.methods.continual.bulk import evaluating
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.springs import Springs, held_step


@final
class Mas(ContinualMethod[Springs]):
    """CE(f(x), y) + (lambda / 2) sum_i Omega_i (theta_i - theta*_i)^2, Omega_i the mean of |d |f(x)|^2 / d theta_i|.

    Source: Aljundi et al., *Memory Aware Synapses*, ECCV 2018; gradients are those of whole batches, as FACIL takes them.
    """

    replays: ClassVar[bool] = False
    blurs: ClassVar[bool] = True

    strength: float = Field(1.0, ge=0, description="weight lambda of the penalty")

    def init(self, learner: Learner) -> Springs:
        return Springs()

    def step(self, learner: Learner, state: Springs, batch: Batch) -> Tensor:
        return held_step(learner, state, batch, self.strength)

    def end_task(self, learner: Learner, state: Springs) -> None:
        samples = learner.stream.train(learner.task)
        total = torch.zeros(learner.net.size, device=learner.device)
        with evaluating(learner.net):
            for part in learner.parts(torch.arange(len(samples)), learner.batch):
                scores = learner.net.scores(learner.net.encode(learner.clean(samples.images[part])))
                total += len(part) * learner.gradient_of(scores.square().sum(1).mean()).abs()
                learner.over_weights(flops=3, reads=2, writes=1)
        learner.over_weights(flops=2, reads=2, writes=1)
        state.hold(learner, total / len(samples))
