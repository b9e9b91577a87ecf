"""Objects of a batch of images."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Targets(NamedTuple):
    """Objects of a batch, padded to one number per image."""

    boxes: Tensor
    """(b, objects, 4) corners."""
    labels: Tensor
    """(b, objects) whole numbers from 0."""
    valid: Tensor
    """(b, objects): False where padded."""
