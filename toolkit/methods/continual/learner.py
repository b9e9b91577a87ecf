"""The learner: what a method has at hand on its machine, and whatever it does there counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from toolkit.core.work import Work
from toolkit.datasets.streams import Stream
from toolkit.learning.augment import random_crop, random_flip
from toolkit.learning.buffer import Replayed, ReservoirBuffer
from toolkit.learning.flat import gradient_of
from toolkit.learning.meter import Meter, checking_work, elementwise_work, loading_work, update_work
from toolkit.learning.random import torch_generator
from toolkit.methods.continual.batch import Batch
from toolkit.methods.continual.network import ContinualNet
from toolkit.methods.continual.settings import Augment, Sgd
from toolkit.methods.continual.storage import BufferStorage

PLAIN = Sgd()
Draw = Callable[..., np.random.Generator]
VARYING = 14
"""Kernels of a random crop (`toolkit.learning.augment`) on numbers of places, beside those on pixels."""


class Learner:
    """A network that learns a stream with a replay memory. Everything a method calls here is counted by the meter of `net`: calls of the
    network, updates by `descend`, the memory's traffic by `insert` and `replay`.
    """

    def __init__(
        self, stream: Stream, net: ContinualNet, *, shared_rng: Draw, batch: int, replay: int, lr: float, bn: Literal["concat", "separate"],
        augment: Augment, storage: BufferStorage, capacity: int, sgd: Sgd = PLAIN, balanced: bool = False,
    ) -> None:
        self.stream = stream
        self.net = net
        self.batch, self.replay_size, self.lr, self.bn = batch, replay, lr, bn
        self.augment, self.sgd = augment, sgd
        self.penalty: Tensor | None = None
        """What of the last step's loss holds weights where past tasks left them; None where nothing does."""
        self.storage = storage
        self.shared_rng = shared_rng
        """Numpy generators by name, the same for every arm of a seed; begin anew at each call."""
        self.generators = {name: torch_generator(shared_rng("continual", name)) for name in ("augment", "buffer", "method")}
        self.balanced = balanced
        """Whether the memory keeps as many samples of each class, and not a reservoir of all."""
        self.buffer: ReservoirBuffer | None = self.new_memory(capacity) if capacity else None
        self.parameters = [weight for weight in net.parameters() if weight.requires_grad]
        self.velocities: dict[int, Tensor] = {}
        """Of weights by their place among `parameters`, where there is momentum."""
        self.task = 0
        self.epoch = 0
        self.epochs = 1
        self.last_epoch = 0
        """The last epoch that is whole: a budget may cut one off behind it."""
        self.steps = 0
        """Steps taken in all tasks."""

    @property
    def meter(self) -> Meter:
        return self.net.meter

    @property
    def device(self) -> torch.device:
        return next(self.net.parameters()).device

    # The stream

    @property
    def num_classes(self) -> int:
        return self.net.num_classes

    @property
    def seen(self) -> int:
        """Classes that have appeared so far: labels below it are known."""
        return self.stream.seen(self.task)

    @property
    def task_classes(self) -> range:
        """Labels of the present task."""
        return self.stream.task_classes(self.task)

    def generator(self, name: str) -> torch.Generator:
        """Return a torch generator of this name, one for the whole run, kept in checkpoints."""
        if name not in self.generators:
            self.generators[name] = torch_generator(self.shared_rng("continual", name))
        return self.generators[name]

    def clean(self, images: Tensor) -> Tensor:
        """Return uint8 images normalised, not augmented."""
        return self.stream.normalise(images)

    def augmented(self, batch: Batch) -> Tensor:
        """Return the images of *batch* augmented and normalised."""
        self.did(loading_work(batch.images.numel(), len(batch)))
        return self.stream.normalise(self._varied(batch.images, None, self.augment.crop, None))

    def _varied(self, images: Tensor, mirror: Callable[[Tensor], Tensor] | None, padding: int, fill: Tensor | None) -> Tensor:
        generator = self.generators["augment"]
        passes = 2 * bool(padding) + 2 * self.augment.flip  # each moves the pixels and chooses among two images
        self.did(elementwise_work(images.numel(), flops=0, reads=passes, writes=passes, launches=VARYING * bool(padding) + 2 * passes))
        if padding:
            images = random_crop(images, padding, generator, even=self.augment.even and padding == self.augment.crop, fill=fill)
        return random_flip(images, generator, mirror=mirror) if self.augment.flip else images

    # The network

    def passes(self, images: Tensor, labels: Tensor, *replayed: Tensor) -> list[Tensor]:
        """Return the scores of the present *images* (augmented, normalised) and of each group of *replayed* maps.

        One pass of the trunk for all together (``bn: concat``), whose BatchNorm then sees one mixture; or one pass each
        (``separate``), whose running statistics chase the last pass. Which it is moves accuracy as much as a method does.
        """
        groups = [self.net.encode(images), *(maps for maps in replayed if len(maps))]
        if self.bn == "separate":
            first, *others = groups
            return [self.net.scores(first, labels), *(self.net.scores(maps) for maps in others)]
        scores = self.net.scores(torch.cat(groups) if len(groups) > 1 else groups[0], labels)
        return list(torch.split(scores, [len(maps) for maps in groups]))

    def begin_step(self, rate: float) -> None:
        """Get ready for a step at the learning *rate*."""
        self.lr, self.penalty = rate, None

    def descend(self, loss: Tensor) -> None:
        """Take one step of SGD against the gradient of *loss*."""
        for weight in self.parameters:
            weight.grad = None
        self.backward(loss)
        self.apply_gradient()

    def backward(self, loss: Tensor) -> None:
        """Go back from *loss*, counting it."""
        self.net.count_loss(loss)
        loss.backward()  # type: ignore[no-untyped-call]

    def gradient_of(self, loss: Tensor) -> Tensor:
        """Return the flat gradient of *loss*, counting it."""
        self.net.count_loss(loss)
        self.over_weights(flops=0, reads=1, writes=1)
        return gradient_of(loss, self.parameters)

    @torch.no_grad()
    def apply_gradient(self) -> None:
        """Move every weight against the gradient it holds."""
        sgd = self.sgd
        moving = [place for place, weight in enumerate(self.parameters) if weight.grad is not None and weight.requires_grad]
        weights = [self.parameters[place].data for place in moving]
        gradients = [gradient for place in moving if (gradient := self.parameters[place].grad) is not None]
        if sgd.weight_decay:
            gradients = list(torch._foreach_add(gradients, weights, alpha=sgd.weight_decay))
        if sgd.momentum:
            gradients = self._with_momentum(moving, gradients)
        torch._foreach_add_(weights, gradients, alpha=-self.lr)
        size = sum(weight.numel() for weight in weights)
        work = update_work(size, momentum=sgd.momentum > 0, weight_decay=sgd.weight_decay > 0)
        self.did(work + checking_work(size))  # the program looks at the gradient after each step

    def _with_momentum(self, moving: list[int], gradients: list[Tensor]) -> list[Tensor]:
        """Return the velocities of the weights at *moving* places, moved by their *gradients*."""
        for place, gradient in zip(moving, gradients, strict=True):
            if place not in self.velocities:
                self.velocities[place] = torch.zeros_like(gradient)
        found = [self.velocities[place] for place in moving]
        torch._foreach_mul_(found, self.sgd.momentum)
        torch._foreach_add_(found, gradients)
        return found

    def did(self, work: Work) -> None:
        """Count work outside the network."""
        self.meter.add(work)

    def over_weights(self, *, flops: float, reads: float, writes: float) -> None:
        """Count a pass over vectors of all weights (gradients, averages) that computes, reads and writes so many numbers for each."""
        self.net.over_weights(flops=flops, reads=reads, writes=writes)

    # Loops over data and chance: a plan goes through them once and counts the rest (`toolkit.methods.continual.standin`)

    def repeated(self, count: int) -> Iterator[int]:
        """Count from 0 to *count* - 1, for repetitions that all take the same."""
        yield from range(count)

    def parts(self, items: Tensor, size: int) -> Iterator[Tensor]:
        """Yield *items* in parts of *size* and a rest, each whole part taking the same."""
        yield from torch.split(items, size)

    def shares(self, items: Tensor, met: range, samples: int) -> Iterator[Tensor]:
        """Yield the one part of *items* that goes with the places *met* of so many *samples*, where both are gone through evenly."""
        yield items[met.start * len(items) // samples : met.stop * len(items) // samples]

    def by_chance(self, chance: float, drawn: float | Tensor) -> Iterator[None]:
        """Yield once where *drawn*, uniform in [0, 1), is below *chance*."""
        if drawn < chance:
            yield

    # The replay memory

    @property
    def remembers(self) -> bool:
        """Whether there is anything to replay."""
        return self.buffer is not None and len(self.buffer) > 0

    def new_memory(self, capacity: int) -> ReservoirBuffer:
        """Return an empty memory of the kind that the run has."""
        return ReservoirBuffer(capacity, self.generator("buffer"), balanced=self.balanced)

    def memory(self) -> ReservoirBuffer:
        """Return the replay memory of a method that has one."""
        if self.buffer is None:
            raise TypeError("this method declared that it does not replay")
        return self.buffer

    def replay(self, count: int | None = None) -> tuple[Tensor, Replayed]:
        """Draw samples; return their maps, augmented as maps can be, and what was stored."""
        return self._read(self.memory().draw(self.replay_size if count is None else count), augmented=True)

    def recall(self, slots: Tensor, *, augmented: bool = True) -> tuple[Tensor, Replayed]:
        """Return the samples in *slots* as `replay` does, or as they are stored, for methods that choose what they read."""
        return self._read(self.memory().at(slots), augmented=augmented)

    def _read(self, drawn: Replayed, *, augmented: bool) -> tuple[Tensor, Replayed]:
        self.meter.traffic(read_bytes=len(drawn) * self.memory().sample_nbytes)
        maps = self.storage.load(drawn, self.clean)
        self.did(loading_work(maps.numel(), len(drawn)))
        if not augmented:
            return maps, drawn
        return self._varied(maps, self.net.mirror, *self.storage.cropping(self.net, self.augment.crop, self.clean, maps.device)), drawn

    def insert(self, batch: Batch, **extras: Tensor) -> None:
        """Offer *batch*, un-augmented, to the memory; only what is taken is encoded and written."""
        taken, slots = self.memory().offer(len(batch), batch.labels)
        if len(taken):
            self.place(slots, batch.images[taken], batch.labels[taken], **{name: values[taken] for name, values in extras.items()})

    def place(self, slots: Tensor, images: Tensor, labels: Tensor, **extras: Tensor) -> None:
        """Encode uint8 *images* and write them to *slots* of the memory, for methods that choose what they keep."""
        memory = self.memory()
        stored, more = self.storage.save(images, self.net, self.clean)
        memory.place(slots, stored, labels, **more, **extras)
        self.meter.traffic(written_bytes=len(slots) * memory.sample_nbytes)

    def take_traffic(self) -> tuple[float, float]:
        """Return the bytes read from and written to the memory since this was last asked."""
        return self.meter.take_traffic()

    # Stopping and going on

    def state_dict(self) -> dict[str, Any]:
        """Return what decides how learning goes on, the method's own state apart."""
        return {
            "net": self.net.state_dict(), "trains": [weight.requires_grad for weight in self.net.parameters()],
            "buffer": None if self.buffer is None else self.buffer.state_dict(),
            "generators": {name: generator.get_state() for name, generator in self.generators.items()},
            "steps": self.steps, "training": self.net.training,
            "velocities": {place: velocity.clone() for place, velocity in self.velocities.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.net.load_state_dict(state["net"])
        for weight, trains in zip(self.net.parameters(), state["trains"], strict=True):
            weight.requires_grad_(trains)
        if self.buffer is not None:
            self.buffer.load_state_dict(state["buffer"], self.device)
        for name, value in state["generators"].items():
            self.generator(name).set_state(value)
        self.steps = state["steps"]
        self.net.train(state["training"])
        self.velocities = {place: velocity.to(self.device) for place, velocity in state["velocities"].items()}


