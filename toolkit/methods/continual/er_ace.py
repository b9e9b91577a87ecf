"""ER-ACE: replay with an asymmetric cross-entropy, so that new classes do not push old ones aside."""

from __future__ import annotations

import math
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from toolkit.methods.continual import Batch, ContinualMethod
from toolkit.methods.continual.learner import Learner


@final
class ErAce(ContinualMethod[None]):
    """CE of present samples among the classes of the batch and those to come, plus CE of replayed samples among all.

    From the second task on a score of the present batch counts only if its class is in the batch or not below the largest class seen;
    nothing is replayed in the first task.

    Source: Caccia et al., *New Insights on Reducing Abrupt Representation Change in Online Continual Learning*, ICLR 2022, section 4; masks
    as the mammoth library has them. Departure: the classifier is the plain linear one, not a cosine classifier.
    """

    takes_maps: ClassVar[bool] = True
    inserts: ClassVar[bool] = True
    blurs: ClassVar[bool] = True

    def step(self, learner: Learner, state: None, batch: Batch) -> Tensor:
        images = learner.augmented(batch)
        if learner.task > 0 and learner.remembers:
            maps, stored = learner.replay()
            now, then = learner.passes(images, batch.labels, maps)
            loss = asymmetric_cross_entropy(now, batch.labels, learner.seen) + cross_entropy(then, stored.labels)
        else:
            (now,) = learner.passes(images, batch.labels)
            loss = cross_entropy(now, batch.labels)
        learner.descend(loss)
        learner.insert(batch)
        return loss.detach()


def asymmetric_cross_entropy(scores: Tensor, labels: Tensor, seen: int) -> Tensor:
    """Return the cross-entropy among the classes of *labels* and those from the largest of the *seen* ones on."""
    counts = torch.arange(scores.shape[1], device=scores.device) >= seen - 1
    counts[labels] = True
    return cross_entropy(scores.masked_fill(~counts, -math.inf), labels)
