"""Linear recursions x[t] = a_1 x[t-1] + … + e[t] + b_1 e[t-1] + …: keeping them stable, running them on, and how their errors grow.

Source: standard (Box and Jenkins 1976, ch. 5). Departures: an unstable fit is shrunk, a_j rho^j, until its largest root is `LARGEST_ROOT`.
"""

from __future__ import annotations

import numpy as np

from toolkit.acoustic.prediction.series import Floats

LARGEST_ROOT = 0.995


def shrunk(coefficients: Floats) -> Floats:
    """The recursion with coefficients a_1 … a_p (p,), its roots scaled into the unit circle if they are not."""
    if not len(coefficients):
        return coefficients
    largest = float(np.abs(np.roots(np.concatenate([[1.0], -coefficients]))).max(initial=0.0))
    if largest <= LARGEST_ROOT:
        return coefficients
    return np.asarray(coefficients * (LARGEST_ROOT / largest) ** np.arange(1, len(coefficients) + 1))


def run_on(coefficients: Floats, recent: Floats, shocks: Floats, steps: int) -> float:
    """The value *steps* cells after *recent* (at least p,), oldest first.

    *shocks* (steps,) is what the known errors still add to each of the coming cells; coming errors are 0.
    """
    order = len(coefficients)
    row = np.empty(order + steps)
    row[:order] = recent[-order:] if order else ()
    newest_last = coefficients[::-1].copy()
    for step in range(steps):
        row[order + step] = newest_last @ row[step : order + step] + shocks[step]
    return float(row[-1])


def running_weights(coefficients: Floats, steps: int) -> Floats:
    """What each of the last p values, oldest first, adds to the value *steps* cells after them if no error comes: (p,)."""
    ahead = coefficients.copy()  # newest first
    for _ in range(steps - 1):
        newest = ahead[0]
        ahead = np.append(ahead[1:], 0.0) + newest * coefficients
    return np.ascontiguousarray(ahead[::-1])


def growth(coefficients: Floats, moving: Floats, steps: int) -> float:
    """Variance of the error *steps* cells ahead for errors of variance 1: the sum of squares of the first psi weights."""
    psi = np.zeros(steps)
    psi[0] = 1.0
    for step in range(1, steps):
        lags = min(step, len(coefficients))
        psi[step] = coefficients[:lags] @ psi[step - lags : step][::-1]
        if step <= len(moving):
            psi[step] += moving[step - 1]
    return float(psi @ psi)
