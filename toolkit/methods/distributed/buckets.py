"""Buckets: the parts in which a gradient is exchanged while the backward pass still works on the others.

Source: PyTorch's DistributedDataParallel (Li et al. 2020, VLDB): tensors are gathered in the order in which their gradients are there, a
bucket is full once it holds so many bytes, the first of them after fewer, so that exchanging begins early. Its defaults: 1 and 25 MiB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import Tensor

from toolkit.core.context import Asking, Context
from toolkit.core.work import FLOAT_BYTES, Work
from toolkit.learning import runs
from toolkit.learning.flat import FlatLayout
from toolkit.learning.work import Count
from toolkit.methods.distributed import ExchangeMethod, Step

if TYPE_CHECKING:
    from toolkit.collectives import AllReduce

MEBIBYTE = 2**20


class Bucket(NamedTuple):
    """A part of the gradient."""

    runs: tuple[slice, ...]
    """Its coordinates in the flat vector."""
    tensors: FlatLayout
    """Its tensors, one after the other."""
    finished: Work
    """All work that is done when it is there, from the beginning of the forward pass, every kernel a launch."""

    @property
    def size(self) -> int:
        """Number of its coordinates."""
        return runs.length(self.runs)


def buckets_of(layout: FlatLayout, counted: Count, *, bucket_bytes: float, first_bytes: float) -> tuple[Bucket, ...]:
    """Return the buckets of a gradient in the order in which they are there; *counted* notes when each weight's part is."""
    found: list[Bucket] = []
    gathered: list[int] = []
    limit, last = first_bytes, len(counted.finished) - 1
    for number, (place, work) in enumerate(counted.finished):
        gathered.append(place)
        if FLOAT_BYTES * sum(layout.sizes[each] for each in gathered) >= limit or number == last:
            places = sorted(gathered)
            tensors = FlatLayout(tuple(layout.shapes[each] for each in places))
            found.append(Bucket(tuple(runs.joined(layout.slices[each] for each in places)), tensors, work))
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


def step_by_part(
    ctx: Context, method: ExchangeMethod, states: Sequence[Any], weights: Tensor, gradient: Tensor, step: Step,
    *, buckets: Sequence[Bucket], computing: Sequence[tuple[Work, float]],
) -> Asking:
    """Let *method* make its step of each bucket, with a state for each; *computing* are the `pieces` of the gradient.

    The processor works off what makes a bucket be there, then what the method computes before it sends that bucket, then the next bucket,
    and at the end what it makes of what it received. The exchanges follow one another, each as soon as its bucket is ready to be sent.
    """
    begun: list[tuple[Asking, Beside, Bucket, Tensor]] = []
    for part, (bucket, (work, share)) in enumerate(zip(buckets, computing, strict=True)):
        ctx.compute(work.beyond_first(), "gradient", share)
        own, beside = runs.take(weights, bucket.runs), Beside(ctx)
        asking = method.step(cast("Context", beside), states[part], own, runs.take(gradient, bucket.runs), replace(step, part=part))
        if next(asking) is not BESIDE:
            raise RuntimeError(f"{method.type_name()}: by_part is true, and its step does not begin with ctx.compute")
        begun.append((asking, beside, bucket, own))
    for asking, beside, bucket, own in begun:
        yield beside.asked[0]
        yield from without_waiting(asking)
        if len(bucket.runs) > 1:  # else they are the weights themselves
            runs.put(weights, bucket.runs, own)
    for _, beside, _, _ in begun:
        yield from beside.asked[1:]


BESIDE = object()
"""What `Beside.compute` returns: there is nothing to wait for."""


class Beside:
    """A context whose computations run beside what its process goes on to do; they are waited for elsewhere."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self.asked: list[Any] = []
        """What to wait for, of each computation."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)

    def compute(self, work: Work, phase: str = "", share: float = 1.0) -> object:
        self.asked.append(self._ctx.compute(work, phase, share))
        return BESIDE


def without_waiting(asking: Asking) -> Asking:
    """Go on with a process after its first question, and wait for all that it asks but its computations."""
    answer, go_on = None, asking.send
    while True:
        try:
            wanted = go_on(answer)
        except StopIteration:
            return
        answer, go_on = None, asking.send
        if wanted is BESIDE:
            continue
        try:
            answer = yield wanted
        except Exception as error:  # a peer is lost: the process is told at the place where it waits
            answer, go_on = error, asking.throw
