"""A continual network with auxiliary heads on the outputs of its stages, as eTag needs it, every call counted."""

from __future__ import annotations

import copy

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from toolkit.core.work import Work
from toolkit.errors import ScenarioError
from toolkit.learning.loss_work import loss_work
from toolkit.learning.meter import elementwise_work
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.network import ContinualNet
from toolkit.models import fresh
from toolkit.models.resnet import BasicBlock, ResNet


class AuxiliaryHead(nn.Module):
    """The stages that follow one of the trunk's, anew, and a linear classifier of its own."""

    def __init__(self, rest: nn.Sequential, classifier: nn.Linear) -> None:
        super().__init__()
        self.rest, self.classifier = rest, classifier

    def forward(self, maps: Tensor) -> Tensor:
        scores: Tensor = self.classifier(functional.adaptive_avg_pool2d(self.rest(maps), 1).flatten(1))
        return scores


class AuxiliaryNet(ContinualNet):
    """A ResNet with a head on each of some *stages* (1 is the first), which tells *views* rotations of each class apart."""

    def __init__(
        self, model: nn.Module, image_shape: tuple[int, int, int], *, stages: tuple[int, ...], views: int, weights: Generator
    ) -> None:
        super().__init__(model, image_shape)
        if not isinstance(model, ResNet):
            kind = type(model).__name__
            raise ScenarioError(f"program.task.model: etag puts heads on the stages of a resnet or resnet18; {kind} is neither")
        count = len(model.stages)
        wrong = [stage for stage in stages if not 1 <= stage <= count]
        if wrong:
            raise ScenarioError(f"program.method.heads: {wrong[0]} is no stage of a network with {count} stages; use 1 to {count}")
        self.views = views
        self._depth = sum(isinstance(part, BasicBlock) for part in model.stages[-1].modules())
        self.heads = nn.ModuleDict({str(stage): self._head(model, stage, weights) for stage in stages})

    def _head(self, model: ResNet, stage: int, weights: Generator) -> AuxiliaryHead:
        def make() -> AuxiliaryHead:
            rest = nn.Sequential(*copy.deepcopy(list(model.stages)[stage:]))
            if not len(rest):  # of the last stage: one more of its kind that shrinks nothing
                size = self.feature_size
                rest = nn.Sequential(nn.Sequential(*(BasicBlock(size, size, 1) for _ in range(self._depth))))
            return AuxiliaryHead(rest, nn.Linear(self.feature_size, self.views * self.num_classes))

        return fresh(make, weights)

    def embed(self, maps: Tensor, stages: tuple[int, ...]) -> tuple[Tensor, ...]:
        """Return pooled features (n, d) of *maps*, and the scores (n, views K) of the heads of *stages*."""
        self._count("plain_embed", maps, stages)
        return tuple(map(self._answered, self.plain_embed(maps, stages)))

    def plain_embed(self, maps: Tensor, stages: tuple[int, ...]) -> tuple[Tensor, ...]:
        model = self.model
        maps = functional.relu(model.bn(model.conv(maps)))
        scores = []
        for place, stage in enumerate(model.stages, start=1):
            maps = stage(maps)
            if place in stages:
                scores.append(self.heads[str(place)](maps))
        return functional.adaptive_avg_pool2d(maps, 1).flatten(1), *scores

    def count_loss(self, loss: Tensor) -> None:
        """Count *loss* and its way back; only the classifier, which is asked twice, adds gradients up."""
        work, _ = loss_work(loss, self._answers)
        self._answers.clear()
        head = sum(weight.numel() for weight in self.model.classifier.parameters())
        self.meter.add(work + (elementwise_work(head, flops=1, reads=2, writes=1, launches=2) if work.launches else Work()))


def auxiliary_net(learner: Learner) -> AuxiliaryNet:
    """Return the learner's network, which the method gave heads."""
    if not isinstance(learner.net, AuxiliaryNet):
        raise TypeError("this network has no auxiliary heads")
    return learner.net


def turned(images: Tensor, views: int) -> Tensor:
    """Return *images* (n, channels, side, side) turned by 0, 90, 180, 270 degrees (4 *views*), 0 and 180 (2) or not (1), upright first."""
    return torch.cat([torch.rot90(images, place * 4 // views, (2, 3)) for place in range(views)])


def joint_labels(labels: Tensor, views: int) -> Tensor:
    """Return the labels of (class, rotation) of what `turned` makes of images with *labels*: views * label + rotation."""
    return torch.cat([views * labels + view for view in range(views)])
