"""Whether numbers are finite, and the one sentence where they are not."""

from __future__ import annotations

import torch
from torch import Tensor


class NotFiniteError(ValueError):
    """Something that is to be sent or kept is infinite or NaN."""


def is_finite(x: Tensor) -> bool:
    """Return whether no element is infinite or NaN; several times as fast as asking for each."""
    return not x.numel() or bool(torch.stack(torch.aminmax(x)).isfinite().all())


def check_finite(x: Tensor, what: str) -> None:
    """Raise a `NotFiniteError` that names the first element of *x*, which is *what*, that is infinite or NaN."""
    if not is_finite(x):
        place = int((~torch.isfinite(x)).view(-1).nonzero()[0, 0])
        raise NotFiniteError(f"{what}: element {place} is {float(x.view(-1)[place])}; it takes finite numbers, check the gradients")
