"""What the compressing methods share: a memory, a compressor, a collective, and momentum on the mean that all workers then have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from toolkit.core.context import Asking, Context
from toolkit.core.work import FLOAT_BYTES, Work
from toolkit.learning.compressors import Compressor, Payload, bundle, unbundle
from toolkit.learning.compressors.memory import Memory
from toolkit.learning.flat import FlatLayout
from toolkit.learning.random import torch_generator
from toolkit.methods.distributed import Step
from toolkit.methods.distributed.sparse import Split, charged, exchange_whole, moving

AVERAGING = 3
"""Kernels of a mean beside those of its summands: an empty sum, looking for what is not finite, a division."""
NO_WORK = Work()


@dataclass
class CompressedState:
    """What a worker keeps between steps."""

    split: Split
    sizes: tuple[int, ...]
    """Lengths of the tensors that are compressed, in order."""
    memory: Memory | None
    """What was not sent, per compressed coordinate; None for unbiased compressors."""
    velocity: Tensor
    """Momentum of the compressed coordinates, the same on every worker; empty without."""
    small_velocity: Tensor
    """Momentum of the tensors that travel whole, likewise."""

    @property
    def error(self) -> Tensor | None:
        """What was never sent (e)."""
        return self.memory.error if self.memory else None


def begin(layout: FlatLayout, dense_below: int, momentum: float, memory: Callable[[int], Memory] | None = None) -> CompressedState:
    """Return the state before the first step; *memory* makes one for so many coordinates."""
    split = Split.of(layout, dense_below)
    velocity = torch.zeros(split.size if momentum else 0)
    kept = memory(split.size) if memory else None
    return CompressedState(split, compressed_sizes(layout, dense_below), kept, velocity, torch.zeros(split.small_size))


def compressed_sizes(layout: FlatLayout, dense_below: int) -> tuple[int, ...]:
    """Return the lengths of the tensors that have at least *dense_below* elements, and any."""
    return tuple(size for size in layout.sizes if size and size >= dense_below)


def wire_bytes(layout: FlatLayout, dense_below: int, compressor: Compressor) -> float:
    """Return the bytes that a worker hands over per step: the payload, and the tensors that travel whole."""
    split = Split.of(layout, dense_below)
    return FLOAT_BYTES * split.small_size + (compressor.wire_bytes(split.size) if split.size else 0)


def compressed_step(
    ctx: Context, state: CompressedState, compressor: Compressor, *, weights: Tensor, gradient: Tensor, step: Step, momentum: float,
    lr_inside: bool = False,
) -> Asking:
    """Make one step of SGD in which each worker sends what *compressor* makes of its gradient and memory.

    With *lr_inside* the learning rate scales what enters the memory (Karimireddy et al. 2019), else the mean of what was sent (as in
    torch): the two differ only when it changes.
    """
    vector, more = state.split.compressed(gradient), Work()
    if state.memory and vector.numel():
        vector = state.memory.add(vector, step.lr if lr_inside else 1.0)  # e <- e + g
        more = Work(*state.memory.work())
    payload = yield from compressed(ctx, compressor, vector, step, state.memory, more=more)  # C(e); e <- e - C(e)
    yield from exchange_whole(
        ctx, state.split, velocity=state.small_velocity, momentum=momentum, weights=weights, gradient=gradient, step=step
    )
    if not payload:
        return
    mean = yield from average(ctx, compressor, payload, vector.numel())
    yield from descend(ctx, weights, state.velocity, mean, momentum, 1.0 if lr_inside else step.lr, split=state.split)


def compressed(
    ctx: Context, compressor: Compressor, vector: Tensor, step: Step, memory: Memory | None = None, *, more: Work = NO_WORK
) -> Asking:
    """Return this worker's payload for *vector*, taken out of its *memory*; nothing for an empty one.

    The work is charged at once, with what was done to get *vector* and is not charged yet (*more*).
    """
    size = vector.numel()
    payload: Payload = ()
    if size:
        generator = torch_generator(ctx.shared_rng("compress", ctx.node, *step.key), vector.device) if compressor.draws else None
        payload = compressor.compress(vector, generator)
        more += Work(*compressor.work(size))
    if memory and size:
        memory.remove(compressor, payload)
        more += Work(*compressor.add_work(size))
    yield charged(ctx, more)
    return payload


def average(ctx: Context, compressor: Compressor, payload: Payload, size: int) -> Asking:
    """Return the mean over all workers of what their payloads for *size* coordinates stand for."""
    if compressor.collective == "all_reduce":
        total = yield from ctx.all_reduce(payload[0], "values")
        mean = compressor.decompress((total,), size).div_(ctx.size)
        received = 1
    else:
        messages = yield from ctx.all_gather(bundle(payload), "values")
        mean = compressor.mean((unbundle(message, payload) for message in messages), size)
        received = len(messages)
    adding = Work(*compressor.add_work(size))
    yield charged(ctx, adding.times(received) + moving(size, 1, 1, 2, AVERAGING))  # from an empty sum; divided at the end
    return mean


def descend(
    ctx: Context, weights: Tensor, velocity: Tensor, mean: Tensor, momentum: float, lr: float,
    *, nesterov: bool = False, split: Split | None = None, more: Work = NO_WORK,
) -> Asking:
    """Make the step of torch's SGD: v <- m v + g, w <- w - lr v, or with *nesterov* w <- w - lr (g + m v).

    What was done to get *mean* and is not charged yet is *more*.
    """
    update = mean
    if velocity.numel():
        velocity.mul_(momentum).add_(mean)
        update = mean.add(velocity, alpha=momentum) if nesterov else velocity
    if split:
        split.add_compressed(weights, update, -lr)
    else:
        weights.add_(update, alpha=-lr)
    passes = (2, 3, 2, 3 if nesterov else 2) if velocity.numel() else (0, 0, 0, 0)
    runs = len(split.large) if split else 1
    yield charged(ctx, moving(mean.numel(), *passes) + moving(mean.numel(), 2, 2, 1, runs) + more)
