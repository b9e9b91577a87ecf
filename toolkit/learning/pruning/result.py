"""What one pruning came to, the same record for every method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PruneResult:
    """One pruned network."""

    mask: NDArray[np.bool_]
    """Units that stay (units,); all of them where single weights were removed."""
    params: int
    """Parameters left; for single weights those that are not zero, indices not counted."""
    conv_macs: int
    """Multiply-adds of the convolutions per image. Zeroed single weights still count: a dense machine multiplies them."""
    macs: int
    err_before: float
    """Test error before fine-tuning."""
    err_after: float
    """Test error after it."""
    evals: int
    """Masks that were evaluated."""
    cpu_s: float
    """Processor time of this machine; not repeatable, unlike all else here."""

    def same_as(self, other: Any) -> bool:
        """Whether all that is repeatable is the same."""
        return isinstance(other, PruneResult) and bool(np.array_equal(self.mask, other.mask)) and all(
            getattr(self, name) == getattr(other, name) for name in ("params", "conv_macs", "macs", "err_before", "err_after", "evals")
        )
