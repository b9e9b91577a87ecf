"""The network of a continual learner: a front end, a trunk, a selection of features, and a linear classifier with all heads.

    images ─ encode ─▶ maps ─ features ─▶ (n, d) ─ select ─▶ (n, d) ─ classify ─▶ scores (n, K)
                         ▲ what the replay memory stores

Without a front end maps are the images and nothing is selected. Methods call `encode`, `scores`, `features` and `classify`; each call
tells the meter, so none is free. CLFD puts a front end and a selection in; E2Net an elastic trunk.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.errors import ScenarioError
from toolkit.methods.continual.costs import Meter, Prices


class Selection(nn.Module):
    """What may be done to pooled features before the classifier; here nothing."""

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return *features* (n, d); *labels* are given for samples of the present task that are trained on, and for nothing else."""
        return features


class ContinualNet(nn.Module):
    """A model of `toolkit.models` (with `features` and `classifier`) between a front end and a selection of features."""

    def __init__(
        self, model: nn.Module, image_shape: tuple[int, int, int], front: nn.Module | None = None, select: Selection | None = None,
        map_shape: tuple[int, int, int] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(getattr(model, "classifier", None), nn.Linear) or not hasattr(model, "features"):
            wants = "continual learning needs a network with pooled features and a linear classifier, such as resnet"
            raise ScenarioError(f"program.task.model: {wants}; {type(model).__name__} has not both")
        self.model: Any = model
        self.front = front
        self.select = select if select is not None else Selection()
        self.image_shape = image_shape
        self.map_shape = image_shape if map_shape is None else map_shape
        self.feature_size: int = model.classifier.in_features  # type: ignore[union-attr, assignment]
        self.num_classes: int = model.classifier.out_features  # type: ignore[union-attr, assignment]
        self._meter: Meter | None = None

    def put_behind(self, front: nn.Module, image_shape: tuple[int, int, int]) -> None:
        """Let images of *image_shape* pass through *front* first; what the network took so far are its maps. *front* can `mirror` maps."""
        self.front, self.image_shape = front, image_shape

    def mirror(self, maps: Tensor) -> Tensor:
        """Return maps mirrored left to right, in the way of the front end."""
        found: Tensor = maps.flip(3) if self.front is None else self.front.mirror(maps)  # type: ignore[operator]
        return found

    @property
    def has_front(self) -> bool:
        return self.front is not None

    @property
    def meter(self) -> Meter:
        """Where calls are counted; made when first asked for, as counting needs the finished network."""
        if self._meter is None:
            self._meter = Meter(Prices(self))
        return self._meter

    @property
    def prices(self) -> Prices:
        return self.meter.prices

    def __getstate__(self) -> dict[str, Any]:
        """A pickled network is not counted until `counted_by` says where."""
        return {**self.__dict__, "_meter": None}

    def __deepcopy__(self, memo: dict[int, Any]) -> ContinualNet:
        """Copies share the meter: what a teacher or an averaged copy computes is the learner's work too."""
        new = type(self).__new__(type(self))
        memo[id(self)] = new
        for key, value in self.__dict__.items():
            new.__dict__[key] = self.meter if key == "_meter" else copy.deepcopy(value, memo)
        return new

    def counted_by(self, meter: Meter) -> None:
        """Let the calls of this network be counted by *meter*."""
        self._meter = meter

    # What methods call

    def encode(self, images: Tensor) -> Tensor:
        """Return the maps (n, *map_shape) of normalised images (n, *image_shape)."""
        if self.front is not None:
            trains = torch.is_grad_enabled() and any(weight.requires_grad for weight in self.front.parameters())
            self.meter.add(self.prices.encode(len(images), training=trains))
        return self.plain_encode(images)

    def features(self, maps: Tensor) -> Tensor:
        """Return pooled features (n, d) of maps, before any selection."""
        self.meter.add(self.prices.features(len(maps), training=torch.is_grad_enabled()))
        return self.plain_features(maps)

    def classify(self, features: Tensor) -> Tensor:
        """Return the scores (n, K) of features."""
        self.meter.add(self.prices.classify(len(features), training=torch.is_grad_enabled()))
        return self.plain_classify(features)

    def scores(self, maps: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the scores (n, K) of maps; *labels* as in `Selection`, for the first ``len(labels)`` of them."""
        self.meter.add(self.prices.scores(len(maps), training=torch.is_grad_enabled()))
        return self.plain_scores(maps, labels)

    # The same without the meter

    def plain_encode(self, images: Tensor) -> Tensor:
        return images if self.front is None else self.front(images)

    def plain_features(self, maps: Tensor) -> Tensor:
        found: Tensor = self.model.features(maps)
        return found

    def plain_classify(self, features: Tensor) -> Tensor:
        found: Tensor = self.model.classifier(features)
        return found

    def plain_scores(self, maps: Tensor, labels: Tensor | None = None) -> Tensor:
        features = self.plain_features(maps)
        if labels is None or len(labels) == len(features):
            return self.plain_classify(self.select(features, labels))
        known = len(labels)
        return self.plain_classify(torch.cat([self.select(features[:known], labels), self.select(features[known:])]))

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores of normalised images, uncounted: what is evaluated, exported and shown."""
        return self.plain_scores(self.plain_encode(images))


def recount(state: Any, meter: Meter) -> None:
    """Let *meter* count every network found in a method's *state* (dataclasses, dicts, lists), as before it was pickled."""
    if isinstance(state, ContinualNet):
        state.counted_by(meter)
    elif isinstance(state, dict):
        for value in state.values():
            recount(value, meter)
    elif isinstance(state, list | tuple):
        for value in state:
            recount(value, meter)
    elif dataclasses.is_dataclass(state):
        for each in dataclasses.fields(state):
            recount(getattr(state, each.name), meter)
