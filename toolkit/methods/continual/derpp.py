"""DER++: dark experience replay with labels."""

from __future__ import annotations

from typing import ClassVar, final

from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from toolkit.methods.continual import Batch, ContinualMethod
from toolkit.methods.continual.learner import Learner


@final
class Derpp(ContinualMethod[None]):
    """CE(f(x), y) + alpha MSE(f(m), h) + beta CE(f(m'), y'), with m and m' two independent draws.

    h are the scores at insertion, the squared error is the mean over samples and scores (`toolkit.methods.continual.der`).

    Source: Buzzega et al., *Dark Experience for General Continual Learning*, NeurIPS 2020, eq. (6).
    """

    stores_scores: ClassVar[bool] = True
    takes_maps: ClassVar[bool] = True
    inserts: ClassVar[bool] = True
    blurs: ClassVar[bool] = True

    alpha: float = Field(0.1, ge=0, description="weight of the squared distance between replayed and stored scores")
    beta: float = Field(0.5, ge=0, description="weight of the cross-entropy of replayed samples")

    def step(self, learner: Learner, state: None, batch: Batch) -> Tensor:
        loss, now = dark_replay(learner, learner.augmented(batch), batch.labels, self.alpha, self.beta)
        learner.descend(loss)
        learner.insert(batch, scores=now.detach())
        return loss.detach()


def dark_replay(learner: Learner, images: Tensor, labels: Tensor, alpha: float, beta: float) -> tuple[Tensor, Tensor]:
    """Return the loss of a step on present *images* (augmented, normalised) and their scores."""
    if not learner.remembers:
        (now,) = learner.passes(images, labels)
        return cross_entropy(now, labels), now
    (maps, stored), (others, labelled) = learner.replay(), learner.replay()
    now, then, again = learner.passes(images, labels, maps, others)
    loss = cross_entropy(now, labels) + alpha * mse_loss(then, stored.extras["scores"]) + beta * cross_entropy(again, labelled.labels)
    return loss, now
