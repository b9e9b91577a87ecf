"""One number for three objectives, and what is known of an error after a few images.

F = d_e E + d_c C + d_s S, to be small, with E the error above that of the dense network in units of *scale* (0.01: accuracy points), C the
multiply-adds of the convolutions and S the parameters, both as the share that is left. Scales and presets are ours: with all three as raw
fractions, weights 1 : 1 : 1 take as much for removing all computation as for being always wrong, and prune too much.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PRESETS: dict[str, tuple[float, float, float]] = {
    "balanced": (0.10, 1.0, 1.0),
    "error": (0.40, 1.0, 1.0),
    "compute": (0.20, 4.0, 0.5),
    "sparsity": (0.20, 0.5, 4.0),
}
"""Weights (d_e, d_c, d_s): one accuracy point is worth a tenth of all computation in `balanced`."""

SCALE = 0.01
NORMAL = 1.959963984540054
"""Quantile of the normal distribution at 0.975."""


@dataclass(frozen=True)
class Fitness:
    """The weighted sum, and a hard bound on the error where there is one."""

    weights: tuple[float, float, float] = PRESETS["balanced"]
    dense_error: float = 0.0
    """Error of the network before pruning."""
    bound: float | None = None
    """Largest error above the dense one that is allowed (epsilon)."""
    scale: float = SCALE

    def of(self, objectives: Floats) -> Floats:
        """Return F (N,) of *objectives* (N, 3): error, computation left, parameters left."""
        points = (objectives[:, 0] - self.dense_error) / self.scale
        worth: Floats = self.weights[0] * points + self.weights[1] * objectives[:, 1] + self.weights[2] * objectives[:, 2]
        return worth

    def violation(self, objectives: Floats) -> Floats:
        """Return by how much each error exceeds the bound (N,); 0 within."""
        if self.bound is None:
            return np.zeros(len(objectives))
        return np.maximum(0.0, objectives[:, 0] - self.dense_error - self.bound)

    def order(self, objectives: Floats) -> Floats:
        """Return one number (N,) to sort by: F within the bound; beyond it worse than all within, by how far (Deb 2000)."""
        over = self.violation(objectives)
        worst = 1e6
        ranked: Floats = np.where(over > 0, worst * (1 + over), self.of(objectives))
        return ranked


def wilson_lower(wrong: NDArray[np.int64], count: int) -> Floats:
    """Return the lower end of Wilson's 95 % interval of the error after *wrong* mistakes in *count* images (Wilson 1927)."""
    share = np.asarray(wrong, np.float64) / count
    square = NORMAL**2
    centre = share + square / (2 * count)
    half = NORMAL * np.sqrt(share * (1 - share) / count + square / (4 * count**2))
    return np.maximum(0.0, (centre - half) / (1 + square / count))
