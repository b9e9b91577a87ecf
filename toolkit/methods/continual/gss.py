"""GSS-greedy: a memory of samples whose gradients point different ways."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, final

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from toolkit.methods.continual import Batch, ContinualMethod
from toolkit.methods.continual.bulk import evaluating
from toolkit.methods.continual.learner import Learner

FIRST_SCORE = 0.1
"""Score of samples that meet an empty memory."""
LEAST_SCORE = 1e-6


@dataclass
class Scores:
    """How like other remembered samples each one was when it was stored, by slot (float32)."""

    values: Tensor = field(default_factory=lambda: torch.empty(0))


@final
class Gss(ContinualMethod[Scores]):
    """Replay as in ER from a memory filled by gradient directions.

    After a step each present sample gets the score c = 1 + max_j cos(g, g_j) over a random subset of the memory. Into a full memory it may
    come only with c < 1, when it points away from all of them: a slot i is drawn in proportion to the stored scores, and replaced with
    probability s_i / (s_i + c).

    Source: Aljundi et al., *Gradient based sample selection for online continual learning*, NeurIPS 2019, algorithm 2. Departures: one
    subset for all samples of a batch (the mammoth library likewise); gradients of single samples in eval mode, on images without
    augmentation.
    """

    blurs: ClassVar[bool] = True
    plans_writes: ClassVar[bool] = False
    """What comes into a full memory hangs on gradients."""

    subset: int = Field(32, ge=1, description="remembered samples that a new one is compared with")

    def init(self, learner: Learner) -> Scores:
        return Scores()

    def step(self, learner: Learner, state: Scores, batch: Batch) -> Tensor:
        images = learner.augmented(batch)
        if learner.remembers:
            maps, stored = learner.replay()
            now, then = learner.passes(images, batch.labels, maps)
            loss = cross_entropy(torch.cat([now, then]), torch.cat([batch.labels, stored.labels]))
        else:
            (now,) = learner.passes(images, batch.labels)
            loss = cross_entropy(now, batch.labels)
        learner.descend(loss)
        self._select(learner, state, batch)
        return loss.detach()

    def _select(self, learner: Learner, state: Scores, batch: Batch) -> None:
        """Alg. 2 for every sample of *batch*."""
        memory, generator = learner.memory(), learner.generator("method")
        scores = self._likeness(learner, batch).cpu()  # drawn from one by one
        free = min(memory.capacity - len(memory), len(batch))
        chosen = dict(zip(range(len(memory), len(memory) + free), range(free), strict=True))  # sample by slot
        values = torch.cat([state.values, scores[:free]])
        for sample in range(free, len(batch)):
            score = scores[sample]
            if score >= 1:
                continue
            slot = int(torch.multinomial(values, 1, generator=generator))
            if torch.rand(1, generator=generator) < values[slot] / (values[slot] + score):
                chosen[slot] = sample
                values[slot] = score
        state.values = values
        if chosen:
            slots, taken = torch.tensor(list(chosen)), torch.tensor(list(chosen.values()))
            learner.place(slots, batch.images[taken], batch.labels[taken])

    def _likeness(self, learner: Learner, batch: Batch) -> Tensor:
        """Return 1 + the largest cosine between the gradient of each sample of *batch* and those of a random subset of the memory."""
        if not learner.remembers:
            return torch.full((len(batch),), FIRST_SCORE)
        subset = torch.randperm(len(learner.memory()), generator=learner.generator("method"))[: self.subset]
        maps, stored = learner.recall(subset, augmented=False)
        with evaluating(learner.net), torch.no_grad():
            known = torch.cat([normalize(each) for each, _ in learner.net.sample_gradients(maps, stored.labels)])
            own = learner.net.sample_gradients(learner.net.encode(learner.clean(batch.images)), batch.labels)
            found = torch.cat([(normalize(each) @ known.T).amax(1) for each, _ in own])
        count, pairs = len(batch) + len(stored), len(batch) * len(stored)  # lengths, and all products between the two groups
        learner.over_weights(flops=3 * count + 2 * pairs, reads=2 * count, writes=count)
        return (1 + found).clamp_min(LEAST_SCORE)
