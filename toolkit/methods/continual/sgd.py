"""SGD: no defence against forgetting, the lower bound."""

from __future__ import annotations

from typing import ClassVar, final

from torch import Tensor
from torch.nn.functional import cross_entropy

from toolkit.methods.continual import Batch, ContinualMethod
from toolkit.methods.continual.learner import Learner


@final
class Sgd(ContinualMethod[None]):
    """Cross-entropy of the present samples over all heads."""

    replays: ClassVar[bool] = False
    blurs: ClassVar[bool] = True

    def step(self, learner: Learner, state: None, batch: Batch) -> Tensor:
        return plain_step(learner, batch)


def plain_step(learner: Learner, batch: Batch) -> Tensor:
    """Descend the cross-entropy of *batch* over all heads; return it."""
    (scores,) = learner.passes(learner.augmented(batch), batch.labels)
    loss = cross_entropy(scores, batch.labels)
    learner.descend(loss)
    return loss.detach()
