"""A learner made of stand-ins: methods run on it as they are, only that nothing has a value and loops are gone through once.

See `toolkit.learning.standin` for what stand-ins are. Here are the learner that goes once through what repeats itself, the network whose
trunk only has shapes, and the stream whose images do.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from toolkit.core.work import FLOAT_BYTES
from toolkit.datasets.streams import Samples, Stream
from toolkit.learning.importance import chunk_size
from toolkit.learning.known_shapes import META
from toolkit.learning.meter import CallCosts
from toolkit.learning.standin import Shapes
from toolkit.methods.continual.batch import Batch
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.network import ContinualNet


class StandInLearner(Learner):
    """Takes the loops of `Learner` once, counted as often as they are, and offers to the memory without drawing what it takes."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.offered = 0.0
        """Samples offered to the memory since this was last set to 0, in expectation."""

    def repeated(self, count: int) -> Iterator[int]:
        if count:
            with self.meter.times(count):
                yield 0

    def parts(self, items: Tensor, size: int) -> Iterator[Tensor]:
        whole = len(items) // size
        for part, count in ((items[:size], whole), (items[whole * size :], 1)):
            if count and len(part):
                with self.meter.times(count):
                    yield part

    def shares(self, items: Tensor, met: range, samples: int) -> Iterator[Tensor]:
        """Yield a part of the size below the mean and one of that above, each as often as it occurs."""
        mean = len(met) * len(items) / samples
        for size, share in ((int(mean), 1 - mean % 1), (int(mean) + 1, mean % 1)):
            if share:
                with self.meter.times(share):
                    yield items[:size]

    def by_chance(self, chance: float, drawn: float | Tensor) -> Iterator[None]:
        if chance > 0:
            with self.meter.times(min(chance, 1.0)):
                yield

    def insert(self, batch: Batch, **extras: Tensor) -> None:
        if self.meter.factor:
            self.offered += len(batch) * self.meter.factor
        else:
            super().insert(batch, **extras)

    def fill(self, method: Any, state: Any, samples: Samples, rounds: int) -> None:
        """Let the memory be filled by *method*, with as many samples at a time as it holds; nothing of it is counted."""
        memory = self.buffer
        if memory is None:
            return
        chosen = torch.arange(min(len(samples), memory.capacity))
        batch, offered = Batch(samples.images[chosen], samples.labels[chosen], chosen), memory.seen
        with self.meter.times(0):
            for _ in range(rounds):
                before = len(memory)
                if before < memory.capacity:
                    method.step(self, state, batch)
                if len(memory) == before:
                    break
        memory.count_as_offered(offered - memory.seen)


class _ShapedNet(ContinualNet):
    """A network whose trunk only has shapes; its calls count as those of the network that it was made from."""

    _kept_bytes = 0
    """What the last counted call keeps for its way back, or needs at its worst where there is none."""
    _more_bytes = 0
    """What its way back needs beside that."""

    @property
    def costs(self) -> CallCosts:
        found = super().costs
        for ours, theirs in zip(self.parameters(), found.network.parameters(), strict=True):
            theirs.requires_grad_(ours.requires_grad)
        return found

    def _count(self, method: str, tensor: Tensor, *arguments: Any) -> None:
        self._kept_bytes = self._more_bytes = 0
        if not self.meter.factor:
            return
        training = torch.is_grad_enabled()
        found = self.costs.count(method, tuple(tensor.shape), *arguments, training=training)
        self._kept_bytes = found.kept_bytes if training else found.live_bytes
        self._more_bytes = found.live_bytes - self._kept_bytes
        self.meter.add(found.work, self.part)

    def encode(self, images: Tensor) -> Tensor:
        return super().encode(images) if self.meter.factor else self.plain_encode(images)

    def _trunk(self, maps: Tensor, size: int, *more: Tensor) -> Tensor:
        """Return (n, *size*) of the trunk, and of *more* weights behind it."""
        head = {id(weight) for weight in self.model.classifier.parameters()}
        weights = [weight for weight in self.model.parameters() if id(weight) not in head]
        found: Tensor = Shapes.apply(self._kept_bytes, self._more_bytes, size, maps, *weights, *more)  # type: ignore[no-untyped-call]
        return found

    def plain_features(self, maps: Tensor) -> Tensor:
        return self._trunk(maps, self.feature_size)

    def plain_expanded(self, maps: Tensor) -> Tensor:
        """Of a trunk with sides."""
        return self._trunk(maps, self.feature_size)

    def plain_embed(self, maps: Tensor, stages: tuple[int, ...]) -> tuple[Tensor, ...]:
        """Of a trunk with heads on its stages."""
        heads: list[Any] = [self.get_submodule(f"heads.{stage}") for stage in stages]
        sizes = [self.feature_size, *(head.classifier.out_features for head in heads)]
        return torch.split(self._trunk(maps, sum(sizes), *(weight for head in heads for weight in head.parameters())), sizes, 1)

    def plain_subnet_features(self, maps: Tensor, config: Any) -> Tensor:
        """Of an elastic trunk."""
        return self._trunk(maps, self.model.space.widths(config)[0][-1])

    def plain_candidate_scores(self, maps: Tensor, config: Any) -> Tensor:
        return maps.new_empty((len(maps), self.num_classes))

    def plain_copy_scores(self, copied: nn.Module, maps: Tensor) -> Tensor:
        return maps.new_empty((len(maps), self.num_classes))

    def plain_sample_gradients(self, maps: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        one = self.costs.count("plain_scores", (1, *maps.shape[1:]), training=True)
        for part in torch.split(maps, chunk_size(self.size)):
            passing = maps.new_empty((len(part) * one.live_bytes // FLOAT_BYTES,))
            gradients = maps.new_empty((len(part), self.size))
            del passing
            yield gradients, maps.new_empty((len(part),))


def shaped(net: ContinualNet) -> ContinualNet:
    """Return a copy of *net* (on the meta device) whose trunk only has shapes."""
    found = copy.deepcopy(net)
    found.__class__ = type(f"Shaped{type(net).__name__}", (_ShapedNet, type(net)), {})
    return found


@dataclass(frozen=True, eq=False)
class StandInStream(Stream):
    """A stream whose images are stand-ins, as bytes; labels are what they are. The samples of the last task asked for are there once."""

    given: dict[int, Samples] = field(default_factory=dict)

    @classmethod
    def like(cls, stream: Stream) -> StandInStream:
        return cls(stream.dataset, stream.classes, (None,) * stream.tasks, stream.comes)

    def train(self, task: int) -> Samples:
        if task not in self.given:
            self.given.clear()
            labels = self._training(task, self.dataset.train_labels).labels
            self.given[task] = Samples(torch.empty((len(labels), *self.image_shape), dtype=torch.uint8, device=META), labels)
        return self.given[task]


def shared_rng(*name: object) -> np.random.Generator:
    """Return the generator of this name, always the same: a plan does not depend on a seed."""
    return np.random.default_rng(zlib.crc32(repr(name).encode()))
