"""ER: experience replay from a reservoir."""

from __future__ import annotations

from typing import ClassVar, Literal, final

from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from toolkit.methods.continual import Batch, ContinualMethod
from toolkit.methods.continual.learner import Learner


@final
class Er(ContinualMethod[None]):
    """Present samples and replayed ones under one cross-entropy (Ratcliff 1990; Riemer et al. 2019; as the mammoth library has it).

    With `reduction` ``mean`` the loss is the mean over all samples of the step, replayed ones included; with ``sum`` it is the sum of
    the two means, which is twice the gradient at equal sizes: compare hosts only under the same form.
    """

    takes_maps: ClassVar[bool] = True
    inserts: ClassVar[bool] = True
    blurs: ClassVar[bool] = True

    reduction: Literal["mean", "sum"] = Field("mean", description="how the losses of present and replayed samples are put together")

    def step(self, learner: Learner, state: None, batch: Batch) -> Tensor:
        images = learner.augmented(batch)
        if learner.remembers:
            maps, stored = learner.replay()
            now, then = learner.passes(images, batch.labels, maps)
            losses = cross_entropy(now, batch.labels), cross_entropy(then, stored.labels)
            if self.reduction == "sum":
                loss = losses[0] + losses[1]
            else:
                loss = (losses[0] * len(now) + losses[1] * len(then)) / (len(now) + len(then))
        else:
            (now,) = learner.passes(images, batch.labels)
            loss = cross_entropy(now, batch.labels)
        learner.descend(loss)
        learner.insert(batch)
        return loss.detach()
