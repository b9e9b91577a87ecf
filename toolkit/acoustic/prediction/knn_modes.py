"""What kNN regression makes of its neighbours' targets.

`level` takes them as they are. `centered` compares windows less their means and moves each target by the difference of the means, `delta`
moves it by the difference of the last cells; both follow a level that was never seen. `local_linear` fits a ridge regression of the
targets on the neighbours' features and reads it at the query.

Source: standard (Atkeson, Moore and Schaal 1997 for locally weighted regression). Departures: the ridge is `share` x trace / p of the
weighted normal equations, so that a handful of neighbours can carry many features.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from toolkit.acoustic.prediction.series import Floats

Mode = Literal["level", "centered", "delta", "local_linear"]


def moved(mode: Mode, targets: Floats, windows: Floats, query: Floats) -> Floats:
    """Targets (…, k) in dB as they count for *query* (…, m), given the neighbours' *windows* (…, k, m)."""
    if mode == "centered":
        return np.asarray(targets + query.mean(axis=-1)[..., None] - windows.mean(axis=-1))
    if mode == "delta":
        return np.asarray(targets + query[..., -1:] - windows[..., -1])
    return targets


def local_linear(features: Floats, query: Floats, targets: Floats, weight: Floats, share: float) -> tuple[float, Floats]:
    """Value at *query* (p,) of a weighted ridge regression of *targets* (k,) on *features* (k, p), and by how much it misses each target
    when that is left out (k,).

    *weight* (k,) sums to 1. Solved for k unknowns: w = X'(XX' + lambda)^-1 y. The line goes close by the targets that it was fitted to, so
    its own residuals understate what it errs by elsewhere; those of targets left out are r / (1 - h), h the diagonal of the smoother (here
    that of the weighted mean, which is the weight, and that of the slopes, 1 - lambda diag((XX' + lambda)^-1)).
    """
    centre, level = weight @ features, float(weight @ targets)
    root = np.sqrt(weight)
    rows = root[:, None] * (features - centre)
    gram = rows @ rows.T
    ridge = share * float(np.trace(gram)) / features.shape[1] + float(np.finfo(float).tiny)
    gram[np.diag_indices(len(gram))] += ridge
    solved = np.linalg.solve(gram, np.column_stack([root * (targets - level), np.eye(len(gram))]))
    slopes = rows.T @ solved[:, 0]
    gap = targets - level - (features - centre) @ slopes
    return level + float((query - centre) @ slopes), gap / (ridge * np.diagonal(solved[:, 1:]) - weight)
