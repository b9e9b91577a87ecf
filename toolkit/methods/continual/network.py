"""The network of a continual learner: a front end, a trunk, a selection of features, and a linear classifier with all heads.

    images ─ encode ─▶ maps ─ features ─▶ (n, d) ─ select ─▶ (n, d) ─ classify ─▶ scores (n, K)
                         ▲ what the replay memory stores

Without a front end maps are the images and nothing is selected. Methods call `encode`, `scores`, `features` and `classify`; each call
tells the meter, so none is free. CLFD puts a front end and a selection in; E2Net an elastic trunk.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.core.work import Work
from toolkit.errors import ScenarioError
from toolkit.learning.importance import chunk_size, sample_gradients
from toolkit.learning.loss_work import loss_work, place_of
from toolkit.learning.meter import Call, CallCosts, Meter, elementwise_work
from toolkit.models.parted import has_parts


class Selection(nn.Module):
    """What may be done to pooled features before the classifier; here nothing."""

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return *features* (n, d); *labels* are given for samples of the present task that are trained on, and for nothing else."""
        return features

    def labelled_work(self, count: int) -> Work:
        """The work that *count* labelled samples cause beyond what unlabelled ones do."""
        return Work()


class ContinualNet(nn.Module):
    """A model with `features` and `classifier` (`toolkit.models.parted` makes one of any) between front end and selection of features."""

    def __init__(
        self, model: nn.Module, image_shape: tuple[int, int, int], front: nn.Module | None = None, select: Selection | None = None,
        map_shape: tuple[int, int, int] | None = None,
    ) -> None:
        super().__init__()
        if not has_parts(model):
            wants = "continual learning needs a network with pooled features and a linear classifier, such as resnet"
            raise ScenarioError(f"program.task.model: {wants}; {type(model).__name__} has not both")
        self.model: Any = model
        self.front = front
        self.select = select if select is not None else Selection()
        self.image_shape = image_shape
        self.map_shape = image_shape if map_shape is None else map_shape
        self.feature_size: int = model.classifier.in_features  # type: ignore[union-attr, assignment]
        self.num_classes: int = model.classifier.out_features  # type: ignore[union-attr, assignment]
        self.part = "network"
        """What its calls are counted as; a teacher's as "teacher"."""
        self._meter: Meter | None = Meter()
        self._costs: CallCosts | None = None
        self._answers: set[int] = set()
        """Where in autograd's graph the counted answers lie; shared by copies, whose answers may come into one loss."""

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
    def size(self) -> int:
        """Number of weights, frozen ones among them."""
        return sum(weight.numel() for weight in self.parameters())

    # Counting

    @property
    def meter(self) -> Meter:
        """Where calls are counted."""
        if self._meter is None:
            raise TypeError("this network was pickled, and nobody said where its calls are counted")
        return self._meter

    @property
    def costs(self) -> CallCosts:
        """What calls take, as counted on the network that this one is a copy of."""
        if self._costs is None:
            self._costs = self.meter.costs(self)
        return self._costs

    def counted_like(self, other: ContinualNet) -> None:
        """Let calls of this copy of *other* count as calls of *other*."""
        self._meter, self._costs, self._answers = other.meter, other.costs, other._answers

    def counted_apart(self) -> ContinualNet:
        """Return a copy whose calls are counted by a meter of its own, and take what is known of this network's."""
        found = copy.deepcopy(self)
        found._meter, found._costs = Meter(), self.costs
        return found

    def __getstate__(self) -> dict[str, Any]:
        """A pickled network is not counted until `counted_like` says where."""
        return {**self.__dict__, "_meter": None, "_costs": None, "_answers": set()}

    def __deepcopy__(self, memo: dict[int, Any]) -> ContinualNet:
        """Copies share the meter: what a teacher or an averaged copy computes is the learner's work too."""
        new = type(self).__new__(type(self))
        memo[id(self)] = new
        for key, value in self.__dict__.items():
            new.__dict__[key] = None if key in {"_meter", "_costs"} else copy.deepcopy(value, memo)
        new._answers = set()
        if self._meter is not None:
            new.counted_like(self)
        return new

    def _count(self, method: str, tensor: Tensor, *arguments: Any) -> None:
        self.meter.add(self.costs.work(method, tuple(tensor.shape), *arguments, training=torch.is_grad_enabled()), self.part)

    def _answered(self, answer: Tensor) -> Tensor:
        """Note that the work behind *answer* is counted."""
        place = place_of(answer)
        if place is not None:
            self._answers.add(place)
        return answer

    def count_loss(self, loss: Tensor) -> None:
        """Count *loss* from the answers of this network or its copies, its way back, and the sums of gradients of several answers."""
        work, answers = loss_work(loss, self._answers)
        self._answers.clear()
        self.meter.add(work)
        if answers > 1:
            trained = [weight.numel() for weight in self.parameters() if weight.requires_grad]
            self.meter.add(elementwise_work(sum(trained), flops=1, reads=2, writes=1, launches=len(trained)).times(answers - 1))

    def encoding_work(self, count: int, *, training: bool = False) -> Work:
        """Return the work of the front end on *count* images; none where there is no front end.

        Where it is *training* this is what it adds to a step: the way back through the trunk to the maps is part of it.
        """
        if self.front is None:
            return Work()
        if not training:
            return self.costs.work("plain_encode", (count, *self.image_shape), training=False)
        whole = self.costs.work("forward", (count, *self.image_shape), training=True)
        trunk = self.costs.work("plain_scores", (count, *self.map_shape), training=True)
        return Work(*(all_of_it - rest for all_of_it, rest in zip(whole, trunk, strict=True)))

    # What methods call

    def encode(self, images: Tensor) -> Tensor:
        """Return the maps (n, *map_shape) of normalised images (n, *image_shape)."""
        if self.front is not None:
            trains = torch.is_grad_enabled() and any(weight.requires_grad for weight in self.front.parameters())
            self.meter.add(self.encoding_work(len(images), training=trains))
        return self.plain_encode(images)

    def features(self, maps: Tensor) -> Tensor:
        """Return pooled features (n, d) of maps, before any selection."""
        self._count("plain_features", maps)
        return self._answered(self.plain_features(maps))

    def classify(self, features: Tensor) -> Tensor:
        """Return the scores (n, K) of features."""
        self._count("plain_classify", features)
        return self._answered(self.plain_classify(features))

    def scores(self, maps: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the scores (n, K) of maps; *labels* as in `Selection`, for the first ``len(labels)`` of them."""
        self._count("plain_scores", maps)
        if labels is not None:
            self.meter.add(self.select.labelled_work(len(labels)))
        return self._answered(self.plain_scores(maps, labels))

    def sample_gradients(self, maps: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield, for some samples at a time, the gradients of log p(y|x), flat (n, d), and log p(y|x), (n,); see `learning.importance`."""
        one = self.costs.work("plain_scores", (1, *maps.shape[1:]), training=True)
        parts = -(-len(maps) // chunk_size(self.size))  # each starts its kernels once, for all its samples
        starts = {"launches": parts * one.launches, "convolutions": parts * one.convolutions}
        self.meter.add(one.times(len(maps))._replace(**starts))
        yield from self.plain_sample_gradients(maps, labels)

    def over_weights(self, *, flops: float, reads: float, writes: float) -> None:
        """Count a pass over vectors of all weights that computes, reads and writes so many numbers for each weight."""
        self.meter.add(elementwise_work(self.size, flops=flops, reads=reads, writes=writes))

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

    def plain_sample_gradients(self, maps: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        yield from sample_gradients(Call(self, "plain_scores"), maps, labels)

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores of normalised images, uncounted: what is evaluated, exported and shown."""
        return self.plain_scores(self.plain_encode(images))
