"""The decisions of gs-SGD, between its two sums over all workers: what to compare exactly, what to change, what to forget.

    e = e + m u + g            error of what was never sent, with momentum
    T = sum over workers of sketch(e)
    candidates = p2 k largest estimates of T
    x = sum over workers of e[candidates]
    the k largest of x change the weights; e and u forget them

Whoever drives them brings the sums: `toolkit.methods.distributed.gs_sgd` those of a simulated or real cluster, `toolkit.learning.ddp`
those of PyTorch's DistributedDataParallel. Source: see `toolkit.methods.distributed.gs_sgd`.
"""

from __future__ import annotations

from torch import Tensor

from toolkit.learning import sketch_sizes
from toolkit.learning.sketch import CountSketch
from toolkit.learning.top_k import top_k


def find_candidates(sketch: CountSketch, table: Tensor, *, k: int, p2: int, size: int) -> Tensor:
    """Return the coordinates (int64) of the p2 k largest estimates of the summed *table*: the same on every worker."""
    return sketch.top_k(table, sketch_sizes.candidates(p2, k, size))


def choose(candidates: Tensor, values: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the k best of *candidates* by the summed exact *values*: their places among the candidates, coordinates, and values."""
    best = top_k(values, k)
    return best, candidates[best], values[best]


def forget_sent(picked: Tensor, error: Tensor, momentum: Tensor | None) -> None:
    """Take what was just sent out of *error*, and out of *momentum* where it is masked."""
    error[picked] = 0
    if momentum is not None and momentum.numel():
        momentum[picked] = 0
