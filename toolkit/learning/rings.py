"""Which slots of a memory belong to which task: equal shares, each the ring of its task's last samples.

Source: Lopez-Paz, Ranzato, *Gradient Episodic Memory for Continual Learning*, NeurIPS 2017, section 3 (memories of the last m samples).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from toolkit.learning.buffer import ReplayError


@dataclass
class Rings:
    """Places in a memory of `share` samples for every task; the samples themselves lie in the memory."""

    share: int
    begins: list[int] = field(default_factory=list)
    """First slot of every task met so far."""
    written: int = 0
    """Samples of the present task that were written."""

    @classmethod
    def among(cls, tasks: int, capacity: int) -> Rings:
        """Return rings that share a memory of *capacity* samples evenly among *tasks* tasks.

        Raises:
            ReplayError: not every task would get a slot.
        """
        if capacity < tasks:
            raise ReplayError(f"buffer: {capacity} samples cannot be shared among {tasks} tasks; it must hold at least {tasks}")
        return cls(capacity // tasks)

    def open(self, first: int) -> None:
        """Begin the next task's ring at slot *first*, where the samples stored so far end."""
        self.begins.append(first)
        self.written = 0

    def turn(self, count: int) -> tuple[Tensor, Tensor]:
        """Take in the next *count* samples of the present task.

        Returns:
            `taken` (int64): which of them stay, the last ones where there are more than slots, and `slots` (int64): where each goes.
        """
        taken = torch.arange(max(0, count - self.share), count)
        slots = self.begins[-1] + (self.written + taken) % self.share
        self.written += count
        return taken, slots

    def past(self) -> list[Tensor]:
        """Return the slots of every earlier task (int64)."""
        return [torch.arange(begin, end) for begin, end in zip(self.begins, self.begins[1:], strict=False)]
