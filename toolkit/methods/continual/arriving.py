"""Continual learning from Python, of data that arrive later: no stream has to be known beforehand.

    learner = Arriving("etag", model, image_shape=(1, 8, 8), classes=10)
    learner.partial_fit(images, labels, epochs=20)      # labels of any kind
    learner.partial_fit(more, their_labels, epochs=20)  # new labels get the next outputs; no output is given twice
    learner.predict(images)                             # labels as they were given
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from toolkit.datasets import Dataset, assemble
from toolkit.datasets.streams import Samples, Stream
from toolkit.errors import DataError, ScenarioError, listed
from toolkit.learning.random import torch_generator
from toolkit.learning.train_state import check_finite
from toolkit.methods.continual import Batch, ContinualMethod
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.settings import Augment
from toolkit.methods.continual.storage import BufferStorage
from toolkit.models.parted import in_parts

PART = 500
"""Images that are predicted at a time."""


@dataclass(frozen=True, eq=False)
class ArrivingStream(Stream):
    """A stream that has one more task than has come so far: what is learnt now is never its last. Images and labels are let go of."""

    present: list[Samples] = field(default_factory=list)
    """Samples of the task that is learnt now; none between tasks."""

    @property
    def tasks(self) -> int:
        return len(self.classes) + 1

    def train(self, task: int) -> Samples:
        if not self.present or task != len(self.classes) - 1:
            raise DataError(f"stream: the samples of task {task} are gone; those at hand are of task {len(self.classes) - 1}")
        return self.present[0]

    def train_size(self, task: int) -> int:
        return len(self.train(task))


class Arriving:
    """A network that learns whatever it is given next, by a method of `toolkit.methods.continual`.

    Args:
        method: its name, or itself with settings.
        model: any network with a linear layer at its end of *classes* outputs; it is trained in place.
        image_shape: channels, height, width.
        classes: outputs of the network: so many labels can be told apart in all.
        memory: samples in the replay memory, for methods that have one.
    """

    def __init__(
        self, method: str | ContinualMethod, model: nn.Module, *, image_shape: tuple[int, int, int], classes: int, lr: float = 1e-3,
        batch: int = 32, memory: int = 0, seed: int = 0, augment: Augment | None = None,
    ) -> None:
        self.method = ContinualMethod.find(method)() if isinstance(method, str) else method
        if self.method.sees_all:
            raise ScenarioError(f"method: {self.method.type_name()} learns all tasks at once, and the later ones are not there yet")
        if self.method.replays and memory < 1:
            raise ScenarioError(f"memory: {self.method.type_name()} replays samples and needs a memory (got {memory})")
        self.labels: dict[Hashable, int] = {}
        """Outputs by label, in the order in which labels came."""
        self._shape, self._classes = image_shape, classes
        self._memory = memory if self.method.replays else 0
        net = self.method.network(in_parts(model, image_shape), image_shape, torch_generator(_rng(seed, "model")))
        if net.num_classes != classes:
            raise ScenarioError(f"classes: the network has {net.num_classes} outputs, not {classes}")
        self._make: Callable[[Stream], Learner] = lambda stream: Learner(
            stream, net, shared_rng=lambda *name: _rng(seed, *name), batch=batch, replay=batch, lr=lr, bn="concat",
            augment=augment or Augment(), storage=BufferStorage("uint8"), capacity=self._memory,
        )
        self._order = torch_generator(_rng(seed, "order"))
        self._learner: Learner | None = None
        self._state: Any = None

    @property
    def learner(self) -> Learner:
        """The learner, for whoever wants to look into it.

        Raises:
            ScenarioError: nothing has been learnt yet.
        """
        if self._learner is None:
            raise ScenarioError("nothing has been learnt yet; call partial_fit first")
        return self._learner

    def partial_fit(self, images: ArrayLike | Tensor, labels: Sequence[Hashable], *, epochs: int = 10) -> list[float]:
        """Learn *images*, uint8 (n, channels, height, width), of *labels* not met before as one more task; return each epoch's loss.

        Images are normalised by the mean and the deviation of the first task's. They are not kept, but for what the method itself keeps.

        Raises:
            DataError: images are of another size or type, there is not one label for each, or there are more labels than outputs.
            ScenarioError: the method cannot learn them; a label has come before.
        """
        pixels = self._pixels(images)
        met = list(dict.fromkeys(labels))
        if len(labels) != len(pixels) or not met:
            raise DataError(f"partial_fit: {len(pixels)} images and {len(labels)} labels; there must be one label per image")
        back = [str(label) for label in met if label in self.labels]
        if back:
            raise ScenarioError(f"partial_fit: class {listed(back)} has been learnt before; a task brings new classes alone")
        if len(self.labels) + len(met) > self._classes:
            classes = f"{len(self.labels)} + {len(met)} classes"
            raise DataError(f"partial_fit: {classes} are more than the {self._classes} outputs of the network")
        named = {**self.labels, **{label: len(self.labels) + place for place, label in enumerate(met)}}
        samples = Samples(pixels, torch.tensor([named[label] for label in labels]))
        learner = self._arrived(samples, range(len(self.labels), len(named)))
        self.labels = named
        losses = self._learn(learner, samples, epochs)
        assert isinstance(learner.stream, ArrivingStream)
        learner.stream.present.clear()
        return losses

    def _pixels(self, images: ArrayLike | Tensor) -> Tensor:
        found = images if isinstance(images, Tensor) else torch.from_numpy(np.asarray(images))
        if found.dtype != torch.uint8 or found.dim() != 4 or tuple(found.shape[1:]) != self._shape:
            wants = " x ".join(map(str, ("n", *self._shape)))
            raise DataError(f"images: must be uint8 {wants}, got {str(found.dtype)[6:]} {' x '.join(map(str, found.shape))}")
        return found

    def _arrived(self, samples: Samples, own: range) -> Learner:
        """Put one more task at the end of the learner's stream."""
        past, dataset = self._learner, None if self._learner is None else self._learner.stream.dataset
        if dataset is None:
            pixels = samples.images.numpy(), samples.labels.numpy()
            dataset = _without_samples(assemble("arriving", pixels, pixels, self._classes))
        classes = (*(() if past is None else past.stream.classes), tuple(own))
        stream = ArrivingStream(dataset, classes, (None,) * len(classes), present=[samples])
        ahead = classes if past is not None else (*classes, (own.stop,))  # a first task is asked what it is worth to a next one
        self.method.check(Stream(dataset, ahead, (None,) * len(ahead)), self._memory)
        if past is None:
            past = self._learner = self._make(stream)
            past.net.train()
            self._state = self.method.init(past)
        past.stream, past.task = stream, len(classes) - 1
        return past

    def _learn(self, learner: Learner, samples: Samples, epochs: int) -> list[float]:
        method, state, losses = self.method, self._state, []
        learner.epochs, learner.last_epoch = epochs, epochs - 1
        method.begin_task(learner, state)
        for learner.epoch in range(epochs):
            method.begin_epoch(learner, state)
            total = 0.0
            for chosen in torch.split(torch.randperm(len(samples), generator=self._order), learner.batch):
                loss = method.step(learner, state, Batch(samples.images[chosen], samples.labels[chosen], chosen))
                check_finite(loss, step=learner.steps, rate=learner.lr)
                learner.steps += 1
                total += float(loss) * len(chosen)
            losses.append(total / len(samples))
            method.end_epoch(learner, state)
        method.end_task(learner, state)
        return losses

    @torch.no_grad()
    def predict(self, images: ArrayLike | Tensor) -> list[Hashable]:
        """Return the label of each of *images*, among those learnt so far."""
        learner, names = self.learner, list(self.labels)
        training = learner.net.training
        learner.net.eval()
        found = [
            self.method.predict(learner, self._state, learner.clean(part))[:, : len(names)].argmax(1)
            for part in torch.split(self._pixels(images), PART)
        ]
        learner.net.train(training)
        return [names[place] for place in torch.cat(found).tolist()]


def _rng(seed: int, *name: object) -> np.random.Generator:
    return np.random.default_rng([seed, *repr(name).encode()])


def _without_samples(dataset: Dataset) -> Dataset:
    """Return what is known of *dataset* without its samples."""
    images, labels = dataset.train_images[:0], dataset.train_labels[:0]
    return Dataset(dataset.name, images, labels, images, labels, dataset.num_classes, dataset.mean, dataset.std)
