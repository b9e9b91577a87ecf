"""Replay memory: a reservoir that keeps every sample offered so far with the same probability, or as many of each class.

Nothing here loops over samples in Python, but where classes are balanced. The slots of a batch are drawn before anybody encodes or copies
it, so that late in training, when hardly a sample is taken, hardly one has to be prepared; the distribution is that of offering them one by
one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toolkit.errors import UserError
from toolkit.learning.class_balance import ClassBalance

ALL = -1
"""Stands for every label."""


class ReplayError(UserError, ValueError):
    """A replay memory cannot be built or used as asked."""


@dataclass(frozen=True, eq=False)
class Replayed:
    """Samples drawn from a memory: `images` as they were stored, their labels, and what else was stored with them."""

    images: Tensor
    labels: Tensor
    extras: dict[str, Tensor]
    slots: Tensor
    """Where they lie in the memory, int64 (n,)."""

    def __len__(self) -> int:
        return len(self.labels)


def expected_taken(capacity: float, offered: NDArray[np.float64], count: float) -> NDArray[np.float64]:
    """Return how many of *count* samples a reservoir takes in, in expectation, after which so many have been *offered* in all."""
    found: NDArray[np.float64] = count * np.minimum(1.0, capacity / np.maximum(offered, 1.0))
    return found


class ReservoirBuffer:
    """Reservoir sampling (Vitter 1985, algorithm R) over everything offered.

    Args:
        capacity: samples it holds at most.
        generator: where all draws come from; its state is part of `state_dict`.
        balanced: keep as many samples of each class (`ClassBalance`), and within a class every sample with the same probability.

    The shapes and types of images and extras are those of the first samples put in.
    """

    def __init__(self, capacity: int, generator: torch.Generator, *, balanced: bool = False) -> None:
        if capacity < 1:
            raise ReplayError(f"buffer: a capacity of {capacity} holds nothing; it must be at least 1")
        self.capacity = capacity
        self.generator = generator
        self.balance = ClassBalance() if balanced else None
        self.seen = 0
        """Samples offered so far."""
        self._size = 0
        self._images: Tensor | None = None
        self._labels = torch.empty(capacity, dtype=torch.int64)
        self._extras: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return self._size

    @property
    def nbytes(self) -> int:
        """Bytes that the stored samples take, labels (8 each) and extras included."""
        stored = [self._labels, *self._extras.values(), *([] if self._images is None else [self._images])]
        return sum(tensor[: self._size].nbytes for tensor in stored)

    @property
    def sample_nbytes(self) -> int:
        """Bytes of one stored sample; 0 before the first."""
        return self.nbytes // self._size if self._size else 0

    @property
    def labels(self) -> Tensor:
        """Labels of what is stored, in the order of the slots."""
        return self._labels[: self._size]

    @property
    def images(self) -> Tensor:
        """What is stored, in the order of the slots."""
        if self._images is None:
            raise ReplayError("buffer: nothing is stored yet")
        return self._images[: self._size]

    def extra(self, name: str) -> Tensor:
        """What else is stored, in the order of the slots."""
        return self._extras[name][: self._size]

    def offer(self, count: int, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Count *count* samples as offered and decide their fate, by their *labels* where classes are balanced.

        Returns:
            `taken` (int64, rising): which of the samples are kept at the end of the batch, and `slots` (int64): where each goes. A sample
            that a later one of the same batch would overwrite is not kept.
        """
        if self.balance is not None:
            if labels is None or len(labels) != count:
                raise ReplayError("buffer: a memory that balances classes has to know the labels of what it is offered")
            self.seen += count
            taken, slots = self.balance.decide(self.labels.tolist(), labels.tolist(), self.capacity, self.generator)
            self._size = min(self.capacity, self._size + count)
            return taken, slots
        free = torch.arange(self._size, self._size + count)
        offered = torch.arange(self.seen + 1, self.seen + count + 1)
        draw = (torch.rand(count, generator=self.generator, dtype=torch.float64) * offered).long()
        slots = torch.where(free < self.capacity, free, draw)
        self.seen += count
        self._size = min(self.capacity, self._size + count)
        taken = (slots < self.capacity).nonzero()[:, 0]
        slots = slots[taken]
        if len(slots) > 1:  # the last of those that meet in a slot stays
            order = torch.arange(len(slots))
            last = torch.zeros(self.capacity, dtype=torch.int64).scatter_reduce_(0, slots, order, "amax", include_self=False)
            stays = last[slots] == order
            taken, slots = taken[stays], slots[stays]
        return taken, slots

    def put(self, slots: Tensor, images: Tensor, labels: Tensor, **extras: Tensor) -> None:
        """Write samples where `offer` said."""
        if not len(slots):
            return
        if self._images is None:
            self._images = images.new_empty((self.capacity, *images.shape[1:]))
            self._labels = self._labels.to(labels.device)
            self._extras = {name: values.new_empty((self.capacity, *values.shape[1:])) for name, values in extras.items()}
        if extras.keys() != self._extras.keys():
            raise ReplayError(f"buffer: stores {sorted(self._extras) or 'no extras'} with each sample, got {sorted(extras) or 'none'}")
        self._images[slots] = images.detach()
        self._labels[slots] = labels
        for name, values in extras.items():
            self._extras[name][slots] = values.detach()

    def add(self, images: Tensor, labels: Tensor, **extras: Tensor) -> int:
        """Offer samples and store those taken; return how many were."""
        taken, slots = self.offer(len(labels), labels)
        self.put(slots, images[taken], labels[taken], **{name: values[taken] for name, values in extras.items()})
        return len(slots)

    def place(self, slots: Tensor, images: Tensor, labels: Tensor, **extras: Tensor) -> None:
        """Write samples where a rule other than the reservoir's wants them: over stored ones, or next to the last.

        Raises:
            ReplayError: a slot beyond the capacity, or one that would leave empty slots before it.
        """
        if not len(slots):
            return
        size = max(self._size, int(slots.max()) + 1)
        if size > self.capacity or (size > self._size and len(set(slots[slots >= self._size].tolist())) < size - self._size):
            raise ReplayError(f"buffer: slots up to {size - 1} do not follow {self._size} samples in a memory of {self.capacity}")
        self._size = size
        self.put(slots, images, labels, **extras)

    def keep(self, slots: Tensor) -> None:
        """Forget all samples but those in *slots*, which move together in this order."""
        if self._images is None:
            return
        for tensor in (self._images, self._labels, *self._extras.values()):
            tensor[: len(slots)] = tensor[slots]
        self._size = len(slots)

    def draw(self, count: int) -> Replayed:
        """Return *count* different samples drawn uniformly, or all in random order where there are no more."""
        slots = torch.randperm(self._size, generator=self.generator)[:count]
        return self.at(slots)

    def at(self, slots: Tensor) -> Replayed:
        """Return the samples in *slots*."""
        return Replayed(self.images[slots], self._labels[slots], {name: values[slots] for name, values in self._extras.items()}, slots)

    def clear(self) -> dict[int, int]:
        """Forget all samples and that any was offered; return how many were, by label where classes are balanced, else as one number."""
        offered = {ALL: self.seen} if self.balance is None else dict(self.balance.offered)
        self.seen = self._size = 0
        if self.balance is not None:
            self.balance = ClassBalance()
        return offered

    def count_as_offered(self, count: int | Mapping[int, int]) -> None:
        """Count samples as offered that were offered elsewhere or before it was cleared, or (negative) as not offered; later ones get
        the odds that this makes.
        """
        self.seen += count if isinstance(count, int) else sum(count.values())
        if self.balance is not None and not isinstance(count, int):
            self.balance.count_as_offered(count)

    @property
    def reserved_nbytes(self) -> int:
        """Bytes that are set aside for stored samples, labels apart; 0 before the first."""
        return 0 if self._images is None else self._images.nbytes + sum(values.nbytes for values in self._extras.values())

    def state_dict(self) -> dict[str, Any]:
        """Return copies of everything that decides what comes next, the generator's state included."""
        return {
            "capacity": self.capacity, "seen": self.seen, "size": self._size, "generator": self.generator.get_state(),
            "images": None if self._images is None else self._images.clone(), "labels": self._labels.clone(),
            "extras": {name: values.clone() for name, values in self._extras.items()},
            "offered": None if self.balance is None else dict(self.balance.offered),
        }

    def load_state_dict(self, state: dict[str, Any], device: torch.device | None = None) -> None:
        """Go on from what `state_dict` returned, with the samples on *device*, or where they were kept."""
        self.capacity, self.seen, self._size = state["capacity"], state["seen"], state["size"]
        self.generator.set_state(state["generator"])
        self.balance = None if state["offered"] is None else ClassBalance()
        if self.balance is not None:
            self.balance.count_as_offered(state["offered"])
        self._images = None if state["images"] is None else state["images"].to(device, copy=True)
        self._labels = state["labels"].to(device, copy=True)
        self._extras = {name: values.to(device, copy=True) for name, values in state["extras"].items()}
