"""MUC: side classifiers that agree on a task's samples and differ elsewhere; a later task distils all of them."""

from __future__ import annotations

from typing import final

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy, softmax

from toolkit.learning.meter import elementwise_work
from toolkit.methods.continual import Batch
from toolkit.methods.continual.bulk import evaluating
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.lwf import distillation
from toolkit.methods.continual.network import ContinualNet
from toolkit.methods.continual.teacher import Distilling, Taught
from toolkit.methods.continual.wide_net import WideNet, wide_net


@final
class Muc(Distilling):
    """CE(C(F(x)), y) + lambda sum over the classifier and its sides of CE(old network's softmax at tau, softmax at tau), of old classes.

    After a task the trunk is frozen, and the side classifiers descend their cross-entropies on the task's samples less the mean distance
    of their softmaxes, two by two, on samples of no class. The classifier alone answers.

    Source: Liu et al., *More Classifiers, Less Forgetting*, ECCV 2020, in its form with LwF. Departure: the source takes another data set
    (SVHN) for samples of no class; here they are the task's own images, their pixels in another order.
    """

    sides: int = Field(2, ge=2, le=100, description="side classifiers")
    distil: float = Field(1.0, ge=0, description="weight lambda of each classifier's distillation")
    temperature: float = Field(2.0, gt=0, description="temperature tau of the distilled probabilities")
    discrepancy: float = Field(1.0, ge=0, description="weight of the side classifiers' distance on samples of no class")
    side_epochs: int = Field(5, ge=1, description="epochs of the side classifiers after each task but the last")

    def network(self, model: nn.Module, image_shape: tuple[int, int, int], weights: Generator) -> ContinualNet:
        return WideNet(model, image_shape, self.sides * ContinualNet(model, image_shape).num_classes, weights)

    def step(self, learner: Learner, state: Taught, batch: Batch) -> Tensor:
        net, labels = wide_net(learner), batch.labels.to(learner.device)
        maps = net.encode(learner.augmented(batch))
        features = net.features(maps)
        if state.teacher is None:
            loss = cross_entropy(net.classify(features)[:, : learner.seen], labels)
            learner.descend(loss)
            return loss.detach()
        teacher, old = state.teacher, learner.stream.seen(learner.task - 1)
        scores = net.wide(features)
        assert isinstance(teacher, WideNet)
        with torch.no_grad():
            said = teacher.wide(teacher.features(maps))
        loss = cross_entropy(scores[:, : learner.seen], labels)
        for each in range(self.sides + 1):
            own = slice(each * learner.num_classes, each * learner.num_classes + old)
            loss = loss + self.distil * distillation(said[:, own], scores[:, own], self.temperature)
        learner.descend(loss)
        return loss.detach()

    def end_task(self, learner: Learner, state: Taught) -> None:
        super().end_task(learner, state)
        if learner.task < learner.stream.tasks - 1:
            self._train_sides(learner)

    def _train_sides(self, learner: Learner) -> None:
        samples, net, generator = learner.stream.train(learner.task), wide_net(learner), learner.generator("method")
        with evaluating(net):
            for _ in learner.repeated(self.side_epochs):
                for chosen in learner.parts(torch.randperm(len(samples), generator=generator), learner.batch):
                    batch = Batch(samples.images[chosen], samples.labels[chosen], chosen)
                    images = learner.augmented(batch)
                    both = torch.cat([images, disordered(images, generator)])
                    learner.did(elementwise_work(images.numel(), flops=0, reads=2, writes=2, launches=2))
                    with torch.no_grad():
                        features = net.features(net.encode(both))
                    told = net.wide(features)[:, learner.num_classes :].view(len(both), self.sides, learner.num_classes)
                    learner.descend(self._side_loss(told[:, :, : learner.seen], batch.labels.to(learner.device)))

    def _side_loss(self, told: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of the scores *told* (n, sides, classes): the first have *labels*, the rest are of no class."""
        size, places = len(labels), range(self.sides)
        loss = torch.stack([cross_entropy(told[:size, each], labels) for each in places]).sum()
        shares = softmax(told[size:], 2)
        apart = [(shares[:, first] - shares[:, second]).abs().mean() for first in places for second in places if first < second]
        return loss - self.discrepancy * torch.stack(apart).mean()


def disordered(images: Tensor, generator: Generator) -> Tensor:
    """Return *images* (n, channels, height, width) with their pixels in another order, the same for all."""
    order = torch.randperm(images.shape[2] * images.shape[3], generator=generator).to(images.device)
    return images.flatten(2)[:, :, order].view(images.shape)
