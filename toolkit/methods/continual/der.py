"""DER: dark experience replay, which replays what the network answered."""

from __future__ import annotations

from typing import ClassVar, final

from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from toolkit.methods.continual import Batch, ContinualMethod
from toolkit.methods.continual.learner import Learner


@final
class Der(ContinualMethod[None]):
    """CE(f(x), y) + alpha MSE(f(m), h): replayed samples keep the scores h that the network gave them when they were stored.

    The squared error is the mean over samples and scores; h are the scores of the augmented sample in training. A sample stored by an early
    task has a score for every head, those to come included.

    Source: Buzzega et al., *Dark Experience for General Continual Learning*, NeurIPS 2020, eq. (5).
    """

    stores_scores: ClassVar[bool] = True
    takes_maps: ClassVar[bool] = True
    inserts: ClassVar[bool] = True
    blurs: ClassVar[bool] = True

    alpha: float = Field(0.3, ge=0, description="weight of the squared distance between replayed and stored scores")

    def step(self, learner: Learner, state: None, batch: Batch) -> Tensor:
        images = learner.augmented(batch)
        if learner.remembers:
            maps, stored = learner.replay()
            now, then = learner.passes(images, batch.labels, maps)
            loss = cross_entropy(now, batch.labels) + self.alpha * mse_loss(then, stored.extras["scores"])
        else:
            (now,) = learner.passes(images, batch.labels)
            loss = cross_entropy(now, batch.labels)
        learner.descend(loss)
        learner.insert(batch, scores=now.detach())
        return loss.detach()
