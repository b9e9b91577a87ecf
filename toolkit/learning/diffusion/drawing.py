"""Images to learn from: drawn with their labels, flipped where asked for; and networks that are told a class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Predicts = Callable[[Tensor, Tensor], Tensor]
"""Of noisy images and time indices, an image."""


@dataclass(frozen=True)
class Images:
    """What batches are drawn from."""

    images: Tensor
    """(n, channels, side, side) in [-1, 1]."""
    labels: Tensor | None = None
    """(n,), for a network that is told the class; None for one that is not."""
    flip: bool = False
    """Whether each image drawn is mirrored left to right with a chance of one half."""

    def __len__(self) -> int:
        return len(self.images)

    def draw(self, count: int, draws: torch.Generator, share: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return *count* images, of the indices *share* where it is given, and their labels."""
        pool = len(self.images) if share is None else len(share)
        chosen = torch.randint(pool, (count,), generator=draws)
        if share is not None:
            chosen = share[chosen]
        x = self.images[chosen]
        if self.flip:
            mirrored = torch.rand(count, generator=draws) < 0.5
            x = torch.where(mirrored.to(x.device)[:, None, None, None], x.flip(-1), x)
        return x, None if self.labels is None else self.labels[chosen]


def told(model: nn.Module, labels: Tensor | None) -> Predicts:
    """Return *model* as a function of images and times alone; where there are *labels* (n,), it is told them."""
    if labels is None:
        return model
    return lambda z, t: model(z, t, labels)
