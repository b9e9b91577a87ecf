"""Buckets: the parts in which a gradient is exchanged while the backward pass still works on the others.

Source: PyTorch's DistributedDataParallel (Li et al. 2020, VLDB): tensors are gathered in the order in which their gradients are there, a
bucket is full once it holds so many bytes, the first of them after fewer, so that exchanging begins early. Its defaults: 1 and 25 MiB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from toolkit.core.context import Asking, Context
from toolkit.core.work import FLOAT_BYTES, Work
from toolkit.learning import runs
from toolkit.learning.flat import FlatLayout
from toolkit.learning.work import Count
from toolkit.methods.distributed import Step

if TYPE_CHECKING:
    from toolkit.collectives import AllReduce

MEBIBYTE = 2**20


class Bucket(NamedTuple):
    """A part of the gradient."""

    runs: tuple[slice, ...]
    """Its coordinates in the flat vector."""
    finished: Work
    """All work that is done when it is there, from the beginning of the forward pass, every kernel a launch."""

    @property
    def size(self) -> int:
        """Number of its coordinates."""
        return runs.length(self.runs)


def buckets_of(layout: FlatLayout, counted: Count, *, bucket_bytes: float, first_bytes: float) -> tuple[Bucket, ...]:
    """Return the buckets of a gradient in the order in which they are there; *counted* notes when each weight's part is."""
    found: list[Bucket] = []
    gathered: list[slice] = []
    limit, last = first_bytes, len(counted.finished) - 1
    for number, (place, work) in enumerate(counted.finished):
        gathered.append(layout.slices[place])
        if FLOAT_BYTES * runs.length(gathered) >= limit or number == last:
            found.append(Bucket(tuple(runs.joined(gathered)), work))
            gathered, limit = [], bucket_bytes
    return tuple(found)


def pieces(whole: Work, counted: Count, buckets: Sequence[Bucket]) -> Iterator[tuple[Work, float]]:
    """Yield what is computed until each of *buckets* is there, and its share of the *whole* gradient, which *counted* is the middle of.

    What comes before the forward pass belongs to the first bucket, what comes after the backward pass to the last.
    """
    more = whole - counted.work
    before = Work()
    for number, bucket in enumerate(buckets):
        done = bucket.finished + more if number == len(buckets) - 1 else bucket.finished
        piece = done - before
        before = done
        yield piece, piece.flops / whole.flops if whole.flops else 1 / len(buckets)


def summed(ctx: Context, gradient: Tensor, step: Step, *, schedule: AllReduce | None = None) -> Asking:
    """Return the sum of *gradient* over all workers, each bucket added up as soon as it is there, one after the other."""
    if not step.arriving:
        return (yield from ctx.all_reduce(gradient, "gradient", schedule))
    total = torch.empty_like(gradient)
    for part, ready in step.arriving:
        if ready is not None:
            yield ready
        added = yield from ctx.all_reduce(runs.take(gradient, part), "gradient", schedule)
        runs.put(total, part, added)
    return total
