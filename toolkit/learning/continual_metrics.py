"""Metrics of continual learning, as pure functions of the accuracy matrix.

R[t, j] is the accuracy on task j after learning task t, both from 0 to T - 1; NaN where it was not examined. What lies above the diagonal
are examinations on tasks not learnt yet, which forward transfer needs. Sources: Lopez-Paz and Ranzato 2017 (BWT, FWT); Chaudhry et al. 2018
(forgetting). Two forms of forgetting are in use and differ: see `forgetting`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Matrix = NDArray[np.float64]


def average(accuracy: ArrayLike) -> float:
    """Mean accuracy over all tasks after the last one (ACC)."""
    return float(_matrix(accuracy)[-1].mean())


def incremental(accuracy: ArrayLike, classes: ArrayLike) -> NDArray[np.float64]:
    """Return the accuracy A_t on all classes seen after each task, (T,): tasks weigh as many *classes* (T,) as each has.

    Its mean, the first task's accuracy among it, is what papers on class-incremental learning call average incremental accuracy (A); its
    last is A_T.
    """
    matrix, weights = _matrix(accuracy), np.asarray(classes, float)
    return np.array([np.average(row[: task + 1], weights=weights[: task + 1]) for task, row in enumerate(matrix)])


def forgetting(accuracy: ArrayLike, form: Literal["paper", "mammoth"] = "paper") -> float:
    """Mean loss from the best earlier accuracy, over all tasks but the last.

    ``paper``: best among i < T - 1, so a task that got better at last counts as negative forgetting (Chaudhry et al. 2018; CLFD, Eq. 10).
    ``mammoth``: best among all i, so never negative.
    """
    matrix = _matrix(accuracy)
    if len(matrix) < 2:
        return float("nan")
    rows = matrix if form == "mammoth" else matrix[:-1]
    return float((np.fmax.reduce(rows[:, :-1], axis=0) - matrix[-1, :-1]).mean())  # what was not examined is no maximum


def backward_transfer(accuracy: ArrayLike) -> float:
    """Mean change of every earlier task since it was learnt (BWT); negative where it was forgotten."""
    matrix = _matrix(accuracy)
    return float((matrix[-1, :-1] - matrix.diagonal()[:-1]).mean()) if len(matrix) > 1 else float("nan")


def forward_transfer(accuracy: ArrayLike, untrained: ArrayLike) -> float:
    """Mean head start of every later task over the *untrained* network's accuracy (T,) on it, just before it is learnt (FWT)."""
    matrix = _matrix(accuracy)
    if len(matrix) < 2:
        return float("nan")
    return float((matrix.diagonal(1) - np.asarray(untrained, float)[1:]).mean())


def stability(accuracy: ArrayLike) -> float:
    """Mean final accuracy of all tasks but the last."""
    matrix = _matrix(accuracy)
    return float(matrix[-1, :-1].mean()) if len(matrix) > 1 else float("nan")


def plasticity(accuracy: ArrayLike) -> float:
    """Mean accuracy on each task just after it was learnt."""
    return float(_matrix(accuracy).diagonal().mean())


def trade_off(accuracy: ArrayLike) -> float:
    """Harmonic mean of stability and plasticity."""
    kept, learnt = stability(accuracy), plasticity(accuracy)
    return 2 * kept * learnt / (kept + learnt) if kept + learnt > 0 else 0.0


def _matrix(accuracy: ArrayLike) -> Matrix:
    matrix = np.asarray(accuracy, float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"the accuracy matrix must be square (tasks, tasks), got shape {matrix.shape}")
    return matrix
