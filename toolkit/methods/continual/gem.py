"""GEM: steps that raise the loss on no past task's remembered samples."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from toolkit.learning.projection import project_cone
from toolkit.learning.rings import Rings
from toolkit.methods.continual import Batch, ContinualMethod
from toolkit.methods.continual.episodic import EpisodicMemory, descend_along, remember
from toolkit.methods.continual.learner import Learner


@final
class Gem(EpisodicMemory, ContinualMethod[Rings]):
    """The gradient g of CE(f(x), y), moved to g + G'v where it opposes the gradient g_k of any past task's memory.

    v minimises v'GG'v / 2 + (Gg)'v over v >= margin, so that the result opposes no g_k. Each task has an equal share of the memory, the
    ring of its last samples. Every gradient is a pass of its own, so `bn` makes no difference here.

    Source: Lopez-Paz, Ranzato, *Gradient Episodic Memory for Continual Learning*, NeurIPS 2017, algorithm 1 and eq. (11). Departure: the
    cross-entropy of a past task is among all classes, as in the mammoth library.
    """

    blurs: ClassVar[bool] = True

    margin: float = Field(0.5, ge=0, description="least weight of each past gradient in a changed step (gamma)")

    def step(self, learner: Learner, state: Rings, batch: Batch) -> Tensor:
        references = []
        for slots in state.past():
            maps, stored = learner.recall(slots)
            references.append(learner.gradient_of(cross_entropy(learner.net.scores(maps), stored.labels)))
        (scores,) = learner.passes(learner.augmented(batch), batch.labels)
        loss = cross_entropy(scores, batch.labels)
        if references:
            past = len(references)  # the products Gg and GG' and the sum g + G'v
            learner.over_weights(flops=2 * past + past * (past + 1) + 2 * past, reads=3 * past, writes=1)
            descend_along(learner, project_cone(learner.gradient_of(loss), torch.stack(references), self.margin))
        else:
            learner.descend(loss)
        remember(learner, state, batch)
        return loss.detach()
