"""One compressed exchange of a DDP hook: a table, whole tensors and flags in one message, then the exact values of candidates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from toolkit.learning.ddp_memory import HookMemory
from toolkit.learning.finite import is_finite
from toolkit.learning.gs_sgd import choose, find_candidates
from toolkit.learning.runs import length, places, take
from toolkit.learning.sketch import CountSketch


class Work(Protocol):
    """A collective under way."""

    def wait(self) -> object: ...


Summing = Callable[[Tensor], Work]
"""Starts an all-reduce of a tensor in place."""


class Round:
    """What is to be exchanged of some parameters: the whole vector, or one bucket of it.

    Its first message holds the table of the compressed ones, the small ones whole, and for each parameter how many ranks used it. Both
    sums are only started here; whoever holds the rounds waits for them in an order that is the same on all ranks.
    """

    def __init__(self, memory: HookMemory, numbers: Sequence[int], sketch: CountSketch, *, k: int, p2: int) -> None:
        self.memory = memory
        self.numbers = list(numbers)
        self.sketch = sketch
        self.k = k
        self.p2 = p2
        self.runs = memory.large_runs(self.numbers)
        self.small_runs = memory.small_runs(self.numbers)
        self._cells = sketch.rows * sketch.cols if self.runs else 0
        self._small = length(self.small_runs)
        self._message = torch.zeros(self._cells + self._small + len(self.numbers), device=memory.error.device)
        self._work: Work | None = None
        self._candidates = self._values = self._message[:0]
        self.chosen = torch.zeros(0, dtype=torch.int64, device=memory.error.device)
        """The coordinates that change, of the whole vector."""
        self.total = self._message[:0]
        """Their sum over all ranks."""
        self.kept: list[int] = []
        """The parameters that no rank used: they get nothing, and what waits for them goes on waiting."""

    @property
    def table(self) -> Tensor:
        """The sketch's part of the message (rows, cols)."""
        return self._message[: self._cells].view(self.sketch.rows, self.sketch.cols)

    @property
    def small_total(self) -> Tensor:
        """The sum over all ranks of what travels whole, in the order of `small_runs`."""
        return self._message[self._cells : self._cells + self._small]

    def start(self, sum_up: Summing) -> None:
        """Start the sum of tables (filled already), small parameters and flags."""
        self.small_total.copy_(take(self.memory.next_velocity, self.small_runs))
        self._message[self._cells + self._small :] = self.memory.used(self.numbers)
        self._work = sum_up(self._message)

    def second(self, sum_up: Summing) -> bool:
        """Wait for the first sum, and start that of the candidates' exact values; return whether all is finite."""
        assert self._work is not None
        self._work.wait()
        self._work = None
        if not is_finite(self._message):
            return False
        flags = self._message[self._cells + self._small :].tolist()
        self.kept = [number for number, ranks in zip(self.numbers, flags, strict=True) if not ranks]
        if not self.runs:
            return True
        found = find_candidates(self.sketch, self.table, k=self.k, p2=self.p2, size=length(self.runs))
        self._candidates = self._without_kept(places(self.runs, found))
        if self._candidates.numel():
            self._values = self.memory.next_error[self._candidates]
            self._work = sum_up(self._values)
        return True

    def _without_kept(self, candidates: Tensor) -> Tensor:
        kept = self.memory.large_runs(self.kept)
        if not kept:
            return candidates
        stays = torch.ones_like(candidates, dtype=torch.bool)
        for run in kept:
            stays &= (candidates < run.start) | (candidates >= run.stop)
        return candidates[stays]

    def finish(self) -> bool:
        """Wait for the second sum and choose; return whether all is finite."""
        if self._work is None:
            return True
        self._work.wait()
        if not is_finite(self._values):
            return False
        _, self.chosen, self.total = choose(self._candidates, self._values, min(self.k, self._values.numel()))
        return True
