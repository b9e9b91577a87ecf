"""FDR: function distance regularisation, which keeps the answers of the end of each task."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, final

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from toolkit.methods.continual import Batch, ContinualMethod
from toolkit.methods.continual.bulk import scores_of
from toolkit.methods.continual.learner import Learner


@dataclass
class Shares:
    """Samples of every task in the memory, in the order of the tasks."""

    counts: list[int] = field(default_factory=list)


@final
class Fdr(ContinualMethod[Shares]):
    """CE(f(x), y) + alpha |softmax f(m) - stored softmax|, the mean over samples of the Euclidean distance.

    At the end of a task the memory is shared evenly among the tasks so far: those before give up samples, and a random choice of this
    task's is stored with the probabilities that the network now gives them.

    Source: Benjamin et al., *Measuring and Regularizing Networks in Function Space*, ICLR 2019; memory as in Buzzega et al. 2020.
    Departures from the mammoth library: one step on the sum of both terms instead of one after the other, and the stored answers are those
    of eval mode.
    """

    stores_scores: ClassVar[bool] = True
    blurs: ClassVar[bool] = True

    alpha: float = Field(0.3, ge=0, description="weight of the distance to the stored probabilities")

    def init(self, learner: Learner) -> Shares:
        return Shares()

    def step(self, learner: Learner, state: Shares, batch: Batch) -> Tensor:
        images = learner.augmented(batch)
        if learner.remembers:
            maps, stored = learner.replay()
            now, then = learner.passes(images, batch.labels, maps)
            distance = torch.linalg.vector_norm(then.softmax(1) - stored.extras["scores"], dim=1)
            loss: Tensor = cross_entropy(now, batch.labels) + self.alpha * distance.mean()
        else:
            (now,) = learner.passes(images, batch.labels)
            loss = cross_entropy(now, batch.labels)
        learner.descend(loss)
        return loss.detach()

    def end_task(self, learner: Learner, state: Shares) -> None:
        samples = learner.stream.train(learner.task)
        share = learner.memory().capacity // (len(state.counts) + 1)
        begins = torch.tensor([0, *state.counts]).cumsum(0)
        kept = [torch.arange(int(begin), int(begin) + min(count, share)) for begin, count in zip(begins, state.counts, strict=False)]
        if kept:
            learner.memory().keep(torch.cat(kept))
        chosen = torch.randperm(len(samples), generator=learner.generator("method"))[:share]
        images = samples.images[chosen]
        slots = len(learner.memory()) + torch.arange(len(chosen))
        learner.place(slots, images, samples.labels[chosen], scores=scores_of(learner, images).softmax(1))
        state.counts = [*(len(slots) for slots in kept), len(chosen)]
