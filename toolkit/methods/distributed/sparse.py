"""What the sketch and global top-k methods share: which coordinates they compress, how many they choose, and how pairs travel."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from toolkit.core.context import Asking, Context
from toolkit.core.work import FLOAT_BYTES, Work
from toolkit.errors import ScenarioError
from toolkit.learning import runs
from toolkit.learning.sketch import CountSketch
from toolkit.learning.sketch_sizes import columns, picks
from toolkit.learning.top_k import top_k_work

if TYPE_CHECKING:
    from toolkit.collectives import AllReduce
    from toolkit.learning.flat import FlatLayout
    from toolkit.methods.distributed import Step

PAIR_BYTES = 8
"""A float32 value and its int32 index."""


@dataclass(frozen=True)
class Split:
    """The flat vector in two: tensors that are compressed, and small ones that travel whole."""

    large: tuple[slice, ...]
    small: tuple[slice, ...]

    @classmethod
    def of(cls, layout: FlatLayout, dense_below: int) -> Split:
        """Leave tensors of fewer than *dense_below* elements uncompressed."""
        return cls.by(layout, lambda shape: math.prod(shape) >= dense_below)

    @classmethod
    def by(cls, layout: FlatLayout, compressed: Callable[[tuple[int, ...]], bool]) -> Split:
        """Compress the tensors whose shape *compressed* accepts."""
        parts = [(part, compressed(shape)) for part, shape in zip(layout.slices, layout.shapes, strict=True)]
        large, small = ([part for part, is_large in parts if is_large is wanted] for wanted in (True, False))
        return cls(tuple(runs.joined(large)), tuple(runs.joined(small)))

    @property
    def size(self) -> int:
        """Number of compressed coordinates."""
        return runs.length(self.large)

    @property
    def small_size(self) -> int:
        return runs.length(self.small)

    def compressed(self, vector: Tensor) -> Tensor:
        """Return the coordinates of *vector* that are compressed, one after the other (a view where that is all of them)."""
        return runs.take(vector, self.large)

    def whole(self, vector: Tensor) -> Tensor:
        """Return the coordinates of *vector* that travel whole."""
        return runs.take(vector, self.small)

    def places(self, indices: Tensor) -> Tensor:
        """Turn places among the compressed coordinates into places in the flat vector."""
        return runs.places(self.large, indices)

    def add_whole(self, vector: Tensor, values: Tensor, alpha: float) -> None:
        """Add *alpha* times *values* to the coordinates of *vector* that travel whole."""
        runs.add(vector, self.small, values, alpha)

    def add_compressed(self, vector: Tensor, values: Tensor, alpha: float) -> None:
        """Add *alpha* times *values* to all compressed coordinates of *vector*."""
        runs.add(vector, self.large, values, alpha)


def count(k: int | None, density: float, size: int) -> int:
    """Return how many of *size* coordinates are chosen: *k*, or the share *density* of them, at least one.

    Raises:
        ScenarioError: *k* is larger than *size*, or nothing is compressed.
    """
    if not size:
        raise ScenarioError("program.method.dense_below: is above the size of every tensor, so nothing is compressed; use type: dense")
    if k is not None and k > size:
        raise ScenarioError(f"program.method.k: {k} coordinates per step, and the model has {size} that are compressed; use at most {size}")
    return picks(k, density, size)


def new_sketch(ctx: Context, rows: int, cols: int | None, k: int, size: int, fraction_bits: int | None = None) -> CountSketch:
    """Return the sketch of *size* coordinates that all workers and servers share, with hashes drawn from the run's seed."""
    seed = int(ctx.shared_rng("sketch").integers(2**63))
    return CountSketch(rows, columns(cols, k), seed, size=size, fraction_bits=fraction_bits, workers=ctx.size)


def pack(values: Tensor, indices: Tensor) -> Tensor:
    """Return (value, index) pairs as one int32 message, values first."""
    return torch.cat([values.contiguous().view(torch.int32), indices.to(torch.int32)])


def unpack(message: Tensor) -> tuple[Tensor, Tensor]:
    """Return the float32 values and int64 indices of a packed message."""
    half = message.numel() // 2
    return message[:half].view(torch.float32), message[half:].to(torch.int64)


def charged(ctx: Context, work: Work) -> Any:
    """Charge what a method does beside gradient and sums; *work* counts every kernel."""
    return ctx.compute(work.beyond_first(), "compress")


def moving(elements: float, flops: float, reads: float, writes: float, kernels: float = 1) -> Work:
    """The work of *kernels* passes over *elements* that together read, write and compute so many numbers for each."""
    return Work(flops * elements, FLOAT_BYTES * reads * elements, FLOAT_BYTES * writes * elements, kernels)


def dividing(total: Tensor) -> Work:
    """The work of making a mean of a sum."""
    return moving(total.numel(), 1, 1, 1)


def choosing(size: int, k: int) -> Work:
    """The work of an exact top-k."""
    return Work(*top_k_work(size, k))


def exchange_whole(
    ctx: Context, split: Split, *, velocity: Tensor, momentum: float, weights: Tensor, gradient: Tensor, step: Step,
    schedule: AllReduce | None = None,
) -> Asking:
    """Make a momentum-SGD step of the small tensors, batched in one dense all-reduce; nothing where there are none."""
    if not split.small:
        return
    total = yield from ctx.all_reduce(split.whole(gradient), "dense", schedule)
    velocity.mul_(momentum).add_(total, alpha=1 / ctx.size)
    split.add_whole(weights, velocity, -step.lr)
    yield charged(ctx, moving(split.small_size, 4, 4, 3, 3 + len(split.small)))


def refuse_servers(ctx: Context, name: str) -> None:
    """Raise a ScenarioError unless there is exactly one server: a sketch is decoded in one place."""
    if ctx.servers != 1:
        raise ScenarioError(f"fabric.servers: {name} works with exactly 1 server, which decodes the sketch (got {ctx.servers})")
