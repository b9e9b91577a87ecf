"""What a step is given of the present task."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Samples of the present task for one step."""

    images: Tensor
    """uint8 (n, channels, height, width), as the camera gave them."""
    labels: Tensor
    """int64 (n,), mapped."""
    index: Tensor
    """Their places in the task's training set, int64 (n,)."""

    def __len__(self) -> int:
        return len(self.labels)
