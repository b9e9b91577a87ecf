"""A continual network whose trunk holds networks of several sizes, as E2Net needs it, with every call of a subnet counted."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from toolkit.core.work import FLOAT_BYTES, Work
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.network import ContinualNet
from toolkit.models.elastic_resnet import Configuration, Space
from toolkit.models.resnet import ResNet


class Elastic(Protocol):
    """What a trunk needs for that; `toolkit.models.elastic_resnet` has one."""

    space: Space
    """All configurations, and what each takes."""

    def features(self, images: Tensor, config: Configuration | None = None) -> Tensor:
        """Return pooled features of the whole network or of a subnet."""

    def classify(self, features: Tensor) -> Tensor:
        """Return scores of such features."""

    def sort_channels(self) -> list[Tensor]:
        """Put the most important inner channels first without changing what the whole answers."""

    def export(self, config: Configuration) -> ResNet:
        """Return a subnet as a network of its own."""


class ElasticNet(ContinualNet):
    """A continual network with an `Elastic` trunk."""

    @property
    def elastic(self) -> Elastic:
        found: Elastic = self.model
        return found

    def sort_channels(self) -> None:
        """Sort the trunk's channels: norms of all weights are read, and all weights moved."""
        self.elastic.sort_channels()
        size = self.elastic.space.parameters(self.elastic.space.full)
        self.meter.add(Work(2.0 * size, 8.0 * size, 4.0 * size, 8.0 * sum(self.elastic.space.blocks)))

    def subnet_scores(self, maps: Tensor, config: Configuration) -> Tensor:
        """Return the scores (n, K) of a subnet; a front end and a selection of features act as on samples without labels."""
        self._count("plain_subnet_scores", maps, config)
        return self._answered(self.plain_subnet_scores(maps, config))

    def candidate_scores(self, maps: Tensor, config: Configuration) -> Tensor:
        """Return the same without gradients, counted in closed form: a search asks for hundreds of subnets, each another one."""
        _, height, width = self.map_shape
        self.meter.add(Work(*map(float, self.elastic.space.inference_work(config, len(maps), height, width))))
        return self.plain_candidate_scores(maps, config)

    def frozen_copy(self, config: Configuration) -> ResNet:
        """Return a copy of a subnet that does not learn: its weights are read and written."""
        nbytes = float(FLOAT_BYTES * self.elastic.space.parameters(config))
        self.meter.add(Work(0.0, nbytes, nbytes, 6.0 * sum(self.elastic.space.blocks)))
        return self.elastic.export(config).eval().requires_grad_(False)

    @torch.no_grad()
    def copy_scores(self, copied: ResNet, maps: Tensor, config: Configuration) -> Tensor:
        """Return the scores of a frozen copy of the subnet *config*."""
        self._count("plain_subnet_scores", maps, config)
        return self.plain_copy_scores(copied, maps)

    @torch.no_grad()
    def plain_candidate_scores(self, maps: Tensor, config: Configuration) -> Tensor:
        return self.plain_subnet_scores(maps, config)

    def plain_copy_scores(self, copied: ResNet, maps: Tensor) -> Tensor:
        scores: Tensor = copied.classifier(self.select(copied.features(maps)))
        return scores

    def plain_subnet_features(self, maps: Tensor, config: Configuration) -> Tensor:
        return self.elastic.features(maps, config)

    def plain_subnet_scores(self, maps: Tensor, config: Configuration) -> Tensor:
        return self.elastic.classify(self.select(self.plain_subnet_features(maps, config)))


def elastic_net(learner: Learner) -> ElasticNet:
    """Return the learner's network, which the method made elastic."""
    if not isinstance(learner.net, ElasticNet):
        raise TypeError("this network is not elastic")
    return learner.net


def subnet_of(net: ContinualNet, config: Configuration) -> ContinualNet:
    """Return the subnet *config* of an elastic network as one of its own, behind the same front and selection."""
    if not isinstance(net, ElasticNet):
        raise TypeError("this network is not elastic")
    return ContinualNet(net.elastic.export(config), net.image_shape, net.front, net.select, net.map_shape)
