"""Parts of a vector as runs: slices in order, of which the coordinates count as one vector."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def joined(parts: Iterable[slice]) -> list[slice]:
    """Return *parts* in rising order, neighbours joined and empty ones left out."""
    runs: list[slice] = []
    for part in sorted(parts, key=lambda part: part.start):
        if part.start == part.stop:
            continue
        if runs and runs[-1].stop == part.start:
            runs[-1] = slice(runs[-1].start, part.stop)
        else:
            runs.append(part)
    return runs


def length(runs: Sequence[slice]) -> int:
    """Return how many coordinates lie in *runs*."""
    return sum(run.stop - run.start for run in runs)


def take(vector: Tensor, runs: Sequence[slice]) -> Tensor:
    """Return the coordinates of *vector* in *runs*, one run after the other; a view where there is one run."""
    if len(runs) == 1:
        return vector[runs[0]]
    return torch.cat([vector[run] for run in runs]) if runs else vector[:0]


def add(vector: Tensor, runs: Sequence[slice], values: Tensor, alpha: float) -> None:
    """Add *alpha* times *values* to the coordinates of *vector* in *runs*."""
    begin = 0
    for run in runs:
        end = begin + run.stop - run.start
        vector[run].add_(values[begin:end], alpha=alpha)
        begin = end


def put(vector: Tensor, runs: Sequence[slice], values: Tensor) -> None:
    """Write *values* to the coordinates of *vector* in *runs*, one run after the other."""
    begin = 0
    for run in runs:
        end = begin + run.stop - run.start
        vector[run] = values[begin:end]
        begin = end


def places(runs: Sequence[slice], indices: Tensor) -> Tensor:
    """Turn *indices* (int64) within *runs*, one after the other, into indices of the whole vector."""
    if len(runs) == 1:
        return indices.add(runs[0].start)
    begins = torch.tensor([0, *(run.stop - run.start for run in runs)], device=indices.device).cumsum(0)[:-1]
    shifts = torch.tensor([run.start for run in runs], device=indices.device) - begins
    return indices.add(shifts[torch.searchsorted(begins, indices, right=True) - 1])
