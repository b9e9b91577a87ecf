"""LwF: learning without forgetting, by distillation on the new task's own samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax, softmax

from toolkit.methods.continual import Batch, Method
from toolkit.methods.continual.bulk import evaluating, scores_of
from toolkit.methods.continual.learner import Learner


@dataclass
class Recorded:
    """Scores (n, K) that the old network gives the samples of the present task; None in the first task."""

    scores: Tensor | None = None


@final
class Lwf(Method[Recorded]):
    """CE(f(x), y) among the classes seen + alpha KD on the old classes, KD = -mean_x sum_k q_k log p_k.

    q and p are the probabilities of recorded and present scores among the old classes at temperature T. Before a new task is learnt, its
    heads are warmed up on the frozen features, by CE among them alone; then the scores to distil are recorded on images without
    augmentation.

    Source: Li, Hoiem, *Learning without Forgetting*, ECCV 2016, sections 3 and 3.1; order of the steps as in the mammoth library.
    Departure: no weight decay.
    """

    replays: ClassVar[bool] = False

    alpha: float = Field(0.5, ge=0, description="weight of the distillation")
    temperature: float = Field(2.0, gt=0, description="temperature of the distilled probabilities")
    warm_up_epochs: int | None = Field(None, ge=0, description="epochs of the warm-up; without it as many as the task has")

    def init(self, learner: Learner) -> Recorded:
        return Recorded()

    def begin_task(self, learner: Learner, state: Recorded) -> None:
        if learner.task:
            self._warm_up(learner)
            state.scores = scores_of(learner, learner.stream.train(learner.task).images)

    def _warm_up(self, learner: Learner) -> None:
        """Train the classifier's rows of the new classes, everything before them frozen and in eval mode."""
        samples, heads = learner.stream.train(learner.task), learner.heads
        with evaluating(learner.net):
            for _ in learner.repeated(learner.epochs if self.warm_up_epochs is None else self.warm_up_epochs):
                for chosen in learner.parts(torch.randperm(len(samples), generator=learner.generator("method")), learner.batch):
                    batch = Batch(samples.images[chosen], samples.labels[chosen], chosen)
                    with torch.no_grad():
                        features = learner.net.features(learner.net.encode(learner.augmented(batch)))
                    scores = learner.net.classify(features)[:, heads.start : heads.stop]
                    learner.descend(cross_entropy(scores, batch.labels - heads.start))

    def step(self, learner: Learner, state: Recorded, batch: Batch) -> Tensor:
        (scores,) = learner.passes(learner.augmented(batch), batch.labels)
        loss = cross_entropy(scores[:, : learner.seen], batch.labels)
        if state.scores is not None:
            old = learner.stream.seen(learner.task - 1)
            loss = loss + self.alpha * distillation(state.scores[batch.index, :old], scores[:, :old], self.temperature)
        learner.descend(loss)
        return loss.detach()


def distillation(old: Tensor, new: Tensor, temperature: float) -> Tensor:
    """Return the cross-entropy of softmax(new / T) under softmax(old / T), the mean over samples; a softmax at temperature T is the
    normalised 1/T-th power of the probabilities.
    """
    return -(softmax(old / temperature, 1) * log_softmax(new / temperature, 1)).sum(1).mean()
