"""EWC: weights are held by the diagonal of Fisher's information, added up over tasks."""

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
class Ewc(ContinualMethod[Springs]):
    """CE(f(x), y) + (lambda / 2) sum_i F_i (theta_i - theta*_i)^2, F_i the mean of (d log p(y|x) / d theta_i)^2, at most `largest`.

    Source: Kirkpatrick et al., *Overcoming catastrophic forgetting in neural networks*, PNAS 2017; strength and bound as PyCIL has them.
    Departures: gradients are of single samples, in eval mode on images that are not augmented; `oewc` is the form of Progress & Compress.
    """

    replays: ClassVar[bool] = False
    blurs: ClassVar[bool] = True

    strength: float = Field(1000.0, ge=0, description="weight lambda of the penalty")
    largest: float = Field(1e-4, gt=0, description="bound of an importance")

    def init(self, learner: Learner) -> Springs:
        return Springs()

    def step(self, learner: Learner, state: Springs, batch: Batch) -> Tensor:
        return held_step(learner, state, batch, self.strength)

    def end_task(self, learner: Learner, state: Springs) -> None:
        samples = learner.stream.train(learner.task)
        with evaluating(learner.net), torch.no_grad():
            total = torch.zeros(learner.net.size, device=learner.device)
            for part in learner.parts(torch.arange(len(samples)), learner.batch):
                maps = learner.net.encode(learner.clean(samples.images[part]))
                for gradients, _ in learner.net.sample_gradients(maps, samples.labels[part]):
                    total += gradients.square().sum(0)
                learner.over_weights(flops=2 * len(part), reads=2 * len(part), writes=len(part))  # squared, added up
        learner.over_weights(flops=3, reads=2, writes=1)
        state.hold(learner, (total / len(samples)).clamp(max=self.largest))
