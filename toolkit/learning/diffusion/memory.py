"""The memory of relational distillation: unit vectors of the teacher's places in a ring, and the head that only the student has."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from toolkit.learning.diffusion.relations import pixels
from toolkit.learning.diffusion.schedule import DiffusionError
from toolkit.models import fresh


class PixelQueue:
    """A ring of *length* unit vectors (length, channels): the newest take the place of the oldest.

    With *official_bug* a "vector" is what the published code stores: the reshaped batch without its channels moved to the front, hence a
    mixture of channels of several images (made unit vectors here, so that the switch changes the layout alone).
    """

    def __init__(
        self, length: int, channels: int, *, keys: int, per_step: int, generator: torch.Generator, official_bug: bool = False
    ) -> None:
        """*keys* rows at evenly spaced places are compared with; *per_step* vectors come in with each batch.

        Raises:
            DiffusionError: the ring is shorter than what comes in at once, or than its keys.
        """
        if length < per_step:
            raise DiffusionError(f"queue: {length} vectors are fewer than the {per_step} that a step puts in; make it longer")
        if not 1 <= keys <= length:
            raise DiffusionError(f"keys: {keys} of a queue of {length}; take 1 to {length}")
        self.rows = functional.normalize(torch.randn(length, channels, generator=generator), dim=1)
        self.per_step, self.official_bug, self.place = per_step, official_bug, 0
        self._keys = torch.linspace(0, length - 1, keys, dtype=torch.float64).round().long()

    def to(self, device: torch.device) -> Self:
        """Move the vectors to *device*, and return this."""
        self.rows = self.rows.to(device)
        return self

    @property
    def keys(self) -> Tensor:
        """The vectors that others are compared with (keys, channels)."""
        return self.rows[self._keys]

    def chosen(self, maps: Tensor, generator: torch.Generator, count: int | None = None) -> Tensor:
        """Return vectors of *maps* (n, channels, height, width) to be put in, drawn without replacement; at most as many as there are."""
        vectors = scrambled(maps) if self.official_bug else pixels(maps).flatten(0, 1)
        return vectors[torch.randperm(len(vectors), generator=generator)[: count or self.per_step]]

    def put(self, vectors: Tensor) -> None:
        """Write *vectors* (count, channels) over the oldest; moves no other row.

        Raises:
            DiffusionError: there are more than the ring has.
        """
        length = len(self.rows)
        if len(vectors) > length:
            raise DiffusionError(f"queue: {len(vectors)} vectors at once are more than the {length} it holds")
        first = min(len(vectors), length - self.place)
        self.rows[self.place : self.place + first] = vectors[:first]
        self.rows[: len(vectors) - first] = vectors[first:]
        self.place = (self.place + len(vectors)) % length


def scrambled(maps: Tensor) -> Tensor:
    """Return what the published code takes for the vectors of *maps*, as unit vectors (n height width, channels)."""
    return functional.normalize(maps.reshape(maps.shape[1], -1).T, dim=1)


def memory_head(channels: int, generator: torch.Generator | None = None) -> nn.Sequential:
    """Return the student's head: 1x1 convolution, BatchNorm, ReLU, 1x1 convolution; no biases."""
    return fresh(lambda: nn.Sequential(
        nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels, 1, bias=False)
    ), generator)
