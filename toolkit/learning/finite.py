"""Whether numbers are finite, and the one sentence where they are not."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class NotFiniteError(ValueError):
    """Something that is to be sent or kept is infinite or NaN."""


def is_finite(x: Tensor) -> bool:
    """Return whether no element is infinite or NaN.

    A sum is finite only if all its terms are, and takes a thirtieth of the time of asking each; they are asked where it is not, since
    large terms overflow too.
    """
    total = x.sum(dtype=torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else None)
    return math.isfinite(total) or bool(x.isfinite().all())


def check_finite(x: Tensor, what: str) -> None:
    """Raise a `NotFiniteError` that names the first element of *x*, which is *what*, that is infinite or NaN."""
    if not is_finite(x):
        place = int((~torch.isfinite(x)).view(-1).nonzero()[0, 0])
        raise NotFiniteError(f"{what}: element {place} is {float(x.view(-1)[place])}; it takes finite numbers, check the gradients")
