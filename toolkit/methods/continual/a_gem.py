"""A-GEM: steps that do not raise the average loss on remembered samples."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from toolkit.learning.projection import project_half_space
from toolkit.learning.rings import Rings
from toolkit.methods.continual import Batch, ContinualMethod
from toolkit.methods.continual.episodic import EpisodicMemory, descend_along, remember
from toolkit.methods.continual.learner import Learner


@final
class AGem(EpisodicMemory, ContinualMethod[Rings]):
    """The gradient g of CE(f(x), y), from which the part that opposes r is taken: g - (g.r / r.r) r wherever g.r < 0.

    r is the gradient of the cross-entropy of samples drawn from the memories of past tasks, equal shares of the whole. A gradient of its
    own is a pass of its own, so `bn` makes no difference here: BatchNorm sees the present samples, then the remembered ones.

    Source: Chaudhry et al., *Efficient Lifelong Learning with A-GEM*, ICLR 2019, eq. (11) and algorithm 2.
    """

    blurs: ClassVar[bool] = True

    def step(self, learner: Learner, state: Rings, batch: Batch) -> Tensor:
        (scores,) = learner.passes(learner.augmented(batch), batch.labels)
        loss = cross_entropy(scores, batch.labels)
        past = state.begins[-1]
        if past:
            gradient = learner.gradient_of(loss)
            drawn = torch.randperm(past, generator=learner.generator("method"))[: learner.replay_size]
            maps, stored = learner.recall(drawn)
            reference = learner.gradient_of(cross_entropy(learner.net.scores(maps), stored.labels))
            learner.over_weights(flops=6, reads=6, writes=1)  # two dot products and a difference
            descend_along(learner, project_half_space(gradient, reference))
        else:
            learner.descend(loss)
        remember(learner, state, batch)
        return loss.detach()
