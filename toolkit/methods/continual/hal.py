"""HAL: anchors learned by hindsight, whose answers a step must not change."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from toolkit.datasets.streams import Stream
from toolkit.errors import ScenarioError
from toolkit.methods.continual import Batch, ContinualMethod
from toolkit.methods.continual.bulk import evaluating
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.network import ContinualNet


@dataclass
class Anchors:
    """What hindsight has learned."""

    maps: Tensor
    """One anchor for each class of each past task, (n, *map_shape), float32."""
    mean: Tensor
    """Running mean of the features of the present task's samples, phi, (d,)."""


@final
class Hal(ContinualMethod[Anchors]):
    """CE of present and replayed samples + lambda mean (f(e) - f'(e))^2 on the anchors e, f' being the network after a step on the CE.

    At the end of a task one anchor for each of its classes is found by gradient ascent on how much would be forgotten: it minimises
    -CE(f_M(e), y) + CE(f(e), y) + gamma |phi(e) - phi|^2, with f_M the network after one more pass over the memory and phi the running mean
    of features, phi <- beta phi + (1 - beta) mean phi(x). Anchors take places of the memory's capacity.

    Source: Chaudhry et al., *Using Hindsight to Anchor Past Knowledge in Continual Learning*, AAAI 2021, eqs. (3) to (7), with the squared
    error of the mammoth library. Departures: the memory is a reservoir; anchors and running features are seen in eval mode, since a single
    anchor would be normalised by itself.
    """

    inserts: ClassVar[bool] = True

    reg_weight: float = Field(0.2, ge=0, description="weight lambda of the anchors")
    beta: float = Field(0.5, ge=0, lt=1, description="share of itself that the running mean of features keeps in a step")
    gamma: float = Field(0.1, ge=0, description="weight of the distance to the mean feature when an anchor is learned")
    anchor_steps: int = Field(100, ge=1, description="gradient steps for an anchor")

    def check(self, stream: Stream, capacity: int) -> None:
        count = anchors_of(stream)
        if capacity <= count:
            raise ScenarioError(f"program.buffer.images: {count} anchors of hal leave no place for samples (got {capacity})")

    def init(self, learner: Learner) -> Anchors:
        learner.buffer = learner.new_memory(learner.memory().capacity - anchors_of(learner.stream))
        return Anchors(torch.empty((0, *learner.net.map_shape), device=learner.device), no_features(learner))

    def begin_task(self, learner: Learner, state: Anchors) -> None:
        state.mean = no_features(learner)

    def step(self, learner: Learner, state: Anchors, batch: Batch) -> Tensor:
        images = learner.augmented(batch)
        before = [weight.detach().clone() for weight in learner.parameters]
        if learner.remembers:
            maps, stored = learner.replay()
            now, then = learner.passes(images, batch.labels, maps)
            loss = cross_entropy(torch.cat([now, then]), torch.cat([batch.labels, stored.labels]))
        else:
            (now,) = learner.passes(images, batch.labels)
            loss = cross_entropy(now, batch.labels)
        learner.descend(loss)
        loss = loss.detach()
        if len(state.maps):
            loss += self._hold(learner, state.maps, before)
        with evaluating(learner.net), torch.no_grad():
            features = learner.net.features(learner.net.encode(images)).mean(0)
        state.mean = self.beta * state.mean + (1 - self.beta) * features
        learner.insert(batch)
        return loss

    def _hold(self, learner: Learner, anchors: Tensor, before: list[Tensor]) -> Tensor:
        """Go back to the weights *before* the step, and from there against its gradient and that of the anchors' change together."""
        learner.meter.traffic(read_bytes=len(anchors) * learner.memory().sample_nbytes)
        with evaluating(learner.net):
            with torch.no_grad():
                ahead = learner.net.scores(anchors)
                torch._foreach_copy_(list(learner.parameters), before)
            change = self.reg_weight * (learner.net.scores(anchors) - ahead).square().mean()
        learner.backward(change)
        learner.over_weights(flops=0, reads=2, writes=2)  # weights put back, and their copy
        learner.apply_gradient()
        return change.detach()

    def end_task(self, learner: Learner, state: Anchors) -> None:
        labels = torch.tensor(list(learner.task_classes), device=learner.device)
        forgetful = self._after_the_memory(learner)
        drawn = torch.rand((len(labels), *learner.net.map_shape), generator=learner.generator("method"))
        maps = drawn.to(learner.device).requires_grad_()
        with evaluating(learner.net), evaluating(forgetful):
            for _ in learner.repeated(self.anchor_steps):
                features = learner.net.features(maps)
                kept = cross_entropy(learner.net.classify(learner.net.select(features)), labels, reduction="sum")
                lost = cross_entropy(forgetful.scores(maps), labels, reduction="sum")
                loss = kept - lost + self.gamma * (features - state.mean).square().sum()
                learner.net.count_loss(loss)
                (gradient,) = torch.autograd.grad(loss, maps)
                maps = (maps - learner.lr * gradient).detach().requires_grad_()
        state.maps = torch.cat([state.maps, maps.detach()])
        learner.meter.traffic(written_bytes=len(maps) * learner.memory().sample_nbytes)

    def _after_the_memory(self, learner: Learner) -> ContinualNet:
        """Return a copy of the network after one more pass over the memory, f_M."""
        net = copy.deepcopy(learner.net)
        weights: list[Tensor] = [weight for weight in net.parameters() if weight.requires_grad]
        order = torch.randperm(len(learner.memory()), generator=learner.generator("method"))
        for slots in learner.parts(order, learner.replay_size):
            maps, stored = learner.recall(slots)
            loss = cross_entropy(net.scores(maps), stored.labels)
            net.count_loss(loss)
            gradients = torch.autograd.grad(loss, weights, materialize_grads=True)
            with torch.no_grad():
                torch._foreach_add_(weights, list(gradients), alpha=-learner.lr)
            learner.over_weights(flops=2, reads=2, writes=1)
        return net


def anchors_of(stream: Stream) -> int:
    """Return how many anchors there will be: one for each class of each task."""
    return sum(len(stream.task_classes(task)) for task in range(stream.tasks))


def no_features(learner: Learner) -> Tensor:
    """Return the mean feature before there is any, (d,)."""
    return torch.zeros(learner.net.feature_size, device=learner.device)
