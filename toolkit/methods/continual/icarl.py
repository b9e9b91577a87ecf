"""iCaRL: exemplars chosen by herding, distillation, and classes told by their nearest mean."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, normalize, one_hot

from toolkit.datasets.streams import Stream
from toolkit.errors import ScenarioError
from toolkit.learning.plain_state import restored
from toolkit.methods.continual import Batch, ContinualMethod
from toolkit.methods.continual.bulk import unit_features
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.nearest_mean import NearestMean
from toolkit.methods.continual.network import ContinualNet


@dataclass
class Exemplars:
    """What is known of past classes beside their exemplars, which lie in the memory class by class, best first."""

    old: ContinualNet | None = None
    """The network at the end of the last task."""
    means: Tensor | None = None
    """Mean features (K, d) of length 1, zero for classes without exemplars; None while they are out of date."""
    order: Tensor | None = None
    """Slots of the memory in the order in which this epoch mixes them in."""
    met: int = 0
    """Samples of the task met in this epoch."""
    samples: int = 0
    """Samples of the task."""
    known: int = 0
    """Classes that have exemplars."""


@final
class Icarl(ContinualMethod[Exemplars]):
    """Binary cross-entropy of every class's sigmoid: new classes against the labels, old ones against the sigmoids of the old network.

    Exemplars are mixed into the task's samples, so that an epoch meets each once. At the end of a task every class seen keeps
    floor(M / classes) of them: the first ones of the old classes, and for the new ones those that herding picks, whose mean stays nearest
    to the mean of all features. A sample is given the class whose mean of exemplars, features scaled to length 1, is nearest.

    Source: Rebuffi et al., *iCaRL: Incremental Classifier and Representation Learning*, CVPR 2017, algorithms 1 to 5. Departure: no weight
    decay.
    """

    mirrored: bool = Field(True, description="let the mean of a class count every exemplar and its mirror image")
    heads: Literal["seen", "all"] = Field(
        "seen", description="heads that the loss is a mean over: of the classes seen (Alg. 3), or all, those not seen against 0 (mammoth)"
    )

    def check(self, stream: Stream, capacity: int) -> None:
        last, seen = stream.tasks - 1, stream.seen(stream.tasks - 1)
        if last and len(stream.task_classes(last)) == seen:
            raise ScenarioError("program.stream.kind: icarl chooses exemplars of new classes, and no task but the first has any; use class")
        if capacity < seen:
            raise ScenarioError(f"program.buffer.images: icarl keeps a sample of each of {seen} classes (got {capacity})")

    def init(self, learner: Learner) -> Exemplars:
        return Exemplars()

    def resume(self, learner: Learner, begun: Exemplars, kept: Any) -> Exemplars:
        if kept["old"] is not None:
            begun.old = copy.deepcopy(learner.net)
        return restored(begun, kept)

    def begin_task(self, learner: Learner, state: Exemplars) -> None:
        state.means = None
        state.samples = learner.stream.train_size(learner.task)

    def begin_epoch(self, learner: Learner, state: Exemplars) -> None:
        state.order = torch.randperm(len(learner.memory()), generator=learner.generator("method"))
        state.met = 0

    def step(self, learner: Learner, state: Exemplars, batch: Batch) -> Tensor:
        loss = torch.zeros(())
        for slots in self._share(learner, state, len(batch)):
            loss = self._descend(learner, state, batch, slots)
        return loss

    def _descend(self, learner: Learner, state: Exemplars, batch: Batch, slots: Tensor) -> Tensor:
        """Take a step on *batch* and the exemplars in *slots* of the memory."""
        images, labels = learner.augmented(batch), batch.labels
        groups = [learner.net.encode(images)] if state.old is not None else []
        if len(slots):
            maps, stored = learner.recall(slots)
            scores = torch.cat(learner.passes(images, labels, maps))
            labels = torch.cat([labels, stored.labels])
            groups.append(maps)
        else:
            (scores,) = learner.passes(images, labels)
        heads = learner.seen if self.heads == "seen" else learner.num_classes
        targets = one_hot(labels, learner.num_classes).float()[:, :heads]
        if state.old is not None:
            past = learner.stream.seen(learner.task - 1)
            with torch.no_grad():
                targets[:, :past] = state.old.scores(torch.cat(groups)).sigmoid()[:, :past]
        loss = binary_cross_entropy_with_logits(scores[:, :heads], targets)
        learner.descend(loss)
        return loss.detach()

    def _share(self, learner: Learner, state: Exemplars, count: int) -> Iterator[Tensor]:
        """Yield the slots of the exemplars that go with the next *count* samples of the epoch."""
        order = torch.empty(0, dtype=torch.int64) if state.order is None else state.order
        begin, state.met = state.met, state.met + count
        yield from learner.shares(order, range(begin, state.met), state.samples)

    def end_task(self, learner: Learner, state: Exemplars) -> None:
        memory, samples = learner.memory(), learner.stream.train(learner.task)
        share = memory.capacity // learner.seen
        kept = [(memory.labels == label).nonzero()[:share, 0] for label in range(state.known)]  # Alg. 5
        if kept:
            memory.keep(torch.cat(kept))
        with torch.no_grad():
            features = unit_features(learner, learner.net.encode(learner.clean(samples.images)))
        for label in learner.task_classes:
            own = (samples.labels == label).nonzero()[:, 0]
            chosen = own[herd(features[own], share)] if label >= state.known else own[:0]  # Alg. 4
            learner.place(len(memory) + torch.arange(len(chosen)), samples.images[chosen], samples.labels[chosen])
        state.known = learner.seen
        maps, stored = learner.recall(torch.arange(len(memory)), augmented=False)
        state.means = self._means(learner, maps, stored.labels, lambda maps: unit_features(learner, maps))
        state.old = copy.deepcopy(learner.net).eval()
        state.order = None

    def _means(self, learner: Learner, maps: Tensor, labels: Tensor, features: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the mean features (K, d) of every class, of length 1 or, for a class without exemplars, 0."""
        found = features(maps) + features(maps.flip(3)) if self.mirrored else features(maps)
        return normalize(found.new_zeros((learner.num_classes, found.shape[1])).index_add_(0, labels, found))

    def predict(self, learner: Learner, state: Exemplars, images: Tensor) -> Tensor:
        scores: Tensor = self.answering(learner, state)(images)
        return scores

    def answering(self, learner: Learner, state: Exemplars) -> nn.Module:
        if not state.known:
            return learner.net
        means = state.means
        if means is None:  # examined under way
            stored = learner.memory().at(torch.arange(len(learner.memory())))
            maps = learner.storage.load(stored, learner.clean)
            means = self._means(learner, maps, stored.labels, lambda maps: normalize(learner.net.plain_features(maps)))
        return NearestMean(learner.net, means)

    def shell(self, net: ContinualNet) -> nn.Module:
        return NearestMean(net, torch.zeros((net.num_classes, net.feature_size)))


def herd(features: Tensor, count: int) -> Tensor:
    """Return the places of *count* rows of *features* (n, d), chosen one by one so that their mean stays nearest to the mean of all."""
    mean = features.mean(0)
    total = torch.zeros_like(mean)
    left = torch.ones(len(features), dtype=torch.bool, device=features.device)
    chosen = []
    for place in range(min(count, len(features))):
        distance = (mean - (total + features) / (place + 1)).norm(dim=1).masked_fill(~left, math.inf)
        best = int(distance.argmin())
        chosen.append(best)
        left[best] = False
        total = total + features[best]
    return torch.tensor(chosen, dtype=torch.int64)
