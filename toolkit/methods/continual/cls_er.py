"""CLS-ER: replay with a fast and a slow average of the network, after complementary learning systems."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from toolkit.methods.continual import Batch, ContinualMethod
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.network import ContinualNet


@dataclass
class Averages:
    """Running averages of the network's weights."""

    plastic: ContinualNet
    stable: ContinualNet
    steps: int = 0


@final
class ClsEr(ContinualMethod[Averages]):
    """CE of present and replayed samples + lambda MSE(f(m), e(m)), where e is whichever of two averaged networks knows a sample better.

    For each replayed sample e are the scores of the stable average where that gives the true class a higher probability, else those of the
    plastic one. After each step each average moves with a probability of its own: theta_e <- a theta_e + (1 - a) theta, with
    a = min(1 - 1 / (step + 1), decay); the stable one moves less often, and is the network that is examined.

    The averages are of parameters alone. They stay in training mode, so their BatchNorm sees replayed samples and nothing else.

    Source: Arani et al., *Learning Fast, Learning Slow*, ICLR 2022, algorithm 1, and the mammoth library. As there the samples of the
    consistency term pass on their own, beside the pass of the cross-entropy; `consistency` ``shared`` saves that pass.
    """

    takes_maps: ClassVar[bool] = True
    inserts: ClassVar[bool] = True
    blurs: ClassVar[bool] = True

    reg_weight: float = Field(0.15, ge=0, description="weight lambda of the consistency with the averaged networks")
    stable_rate: float = Field(0.05, ge=0, le=1, description="probability that the stable average moves after a step")
    plastic_rate: float = Field(0.2, ge=0, le=1, description="probability that the plastic average moves after a step")
    stable_decay: float = Field(0.999, ge=0, le=1, description="largest share of itself that the stable average keeps when it moves")
    plastic_decay: float = Field(0.999, ge=0, le=1, description="the same of the plastic average")
    consistency: Literal["own", "shared"] = Field("own", description="pass for the consistency term: its own, or that of the cross-entropy")

    def init(self, learner: Learner) -> Averages:
        return Averages(copy.deepcopy(learner.net), copy.deepcopy(learner.net))

    def step(self, learner: Learner, state: Averages, batch: Batch) -> Tensor:
        images = learner.augmented(batch)
        if learner.remembers:
            maps, stored = learner.replay()
            target = better_scores(state, maps, stored.labels)
            own = learner.net.scores(maps) if self.consistency == "own" else None
            now, then = learner.passes(images, batch.labels, maps)
            loss = cross_entropy(torch.cat([now, then]), torch.cat([batch.labels, stored.labels]))
            loss = loss + self.reg_weight * mse_loss(then if own is None else own, target)
        else:
            (now,) = learner.passes(images, batch.labels)
            loss = cross_entropy(now, batch.labels)
        learner.descend(loss)
        learner.insert(batch)
        self._average(learner, state)
        return loss.detach()

    def _average(self, learner: Learner, state: Averages) -> None:
        state.steps += 1
        drawn = torch.rand(2, generator=learner.generator("method"))
        for _ in learner.by_chance(self.plastic_rate, drawn[0]):
            follow(state.plastic, learner, min(1 - 1 / (state.steps + 1), self.plastic_decay))
        for _ in learner.by_chance(self.stable_rate, drawn[1]):
            follow(state.stable, learner, min(1 - 1 / (state.steps + 1), self.stable_decay))

    def answering(self, learner: Learner, state: Averages) -> ContinualNet:
        return state.stable

    def predict(self, learner: Learner, state: Averages, images: Tensor) -> Tensor:
        training = state.stable.training
        state.stable.eval()
        scores: Tensor = state.stable(images)
        state.stable.train(training)
        return scores


@torch.no_grad()
def better_scores(state: Averages, maps: Tensor, labels: Tensor) -> Tensor:
    """Return the scores (n, K) of whichever average gives the true class of a sample the higher probability."""
    stable, plastic = state.stable.scores(maps), state.plastic.scores(maps)
    places = labels[:, None]
    surer = stable.softmax(1).gather(1, places) > plastic.softmax(1).gather(1, places)
    return torch.where(surer, stable, plastic)


@torch.no_grad()
def follow(average: ContinualNet, learner: Learner, keep: float) -> None:
    """Move the weights of *average* towards the learner's, keeping the share *keep* of themselves."""
    weights: list[Tensor] = list(average.parameters())
    torch._foreach_mul_(weights, keep)
    torch._foreach_add_(weights, list(learner.net.parameters()), alpha=1 - keep)
    learner.over_weights(flops=3, reads=2, writes=1)
