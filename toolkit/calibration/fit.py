"""The constants by which a device says what its gradients were measured to take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolkit.core.work import Work

ROUNDS = 200
SMALLEST = 1e-3
"""Share of the most that a constant could come to below which it is not searched for."""


class Constants(NamedTuple):
    """What `toolkit.core.device.Device` calls by the same names."""

    convolution_overhead_s: float
    overhead_s: float
    convolution_flops_per_s: float
    matrix_flops_per_s: float
    memory_bytes_per_s: float


def features(work: Work) -> tuple[float, ...]:
    """Return what each constant is paid for: starts of both kinds, operations of both kinds, bytes."""
    return (
        work.convolutions, 1 + work.launches - work.convolutions, work.convolution_flops + work.padding_flops, work.matrix_flops,
        work.read_bytes + work.write_bytes,
    )


def fitted(works: Sequence[Work], seconds: Sequence[float], weights: Sequence[float] | None = None) -> Constants:
    """Return the constants whose sums come nearest to *seconds*, by the squares of the logarithms of their ratios.

    All are positive: the search (Gauss-Newton, damped after Levenberg and Marquardt) goes over their logarithms, beginning where each
    constant explains an equal part of the quickest time that limits it. Work that is limited by other operations than products is not
    fitted, as there is none in networks.

    Args:
        works: what was timed; at least one asks for each constant.
        weights: how much each counts; all alike without.
    """
    table = np.array([features(work) for work in works], np.float64)
    measured = np.array(seconds, np.float64)
    weighed = np.sqrt(np.ones(len(measured)) if weights is None else np.array(weights, np.float64))
    if not (table.max(0) > 0).all():
        raise ValueError("fitted: nothing that was timed asks for one of the constants; time networks with and without convolutions")
    most = np.array([np.min(measured[column > 0] / column[column > 0]) for column in table.T])
    logs = np.log(most / table.shape[1])
    damping, (error, residual, jacobian) = 1e-2, _step(table, measured, weighed, logs)
    for _ in range(ROUNDS):
        normal = jacobian.T @ jacobian
        change = np.linalg.solve(normal + damping * (np.diag(np.diag(normal)) + 1e-9 * np.eye(len(logs))), -jacobian.T @ residual)
        tried = np.clip(logs + np.clip(change, -1, 1), np.log(SMALLEST * most), np.log(2 * most))
        better = _step(table, measured, weighed, tried)
        if better[0] < error:
            done = error - better[0] < 1e-12 * error
            logs, damping, (error, residual, jacobian) = tried, damping / 3, better
            if done:
                break
        else:
            damping *= 4
            if damping > 1e12:
                break
    starts, others, convolutions, products, memory = np.exp(logs).tolist()
    return Constants(starts, others, 1 / convolutions, 1 / products, 1 / memory)


Numbers = NDArray[np.float64]


def _step(table: Numbers, measured: Numbers, weighed: Numbers, logs: Numbers) -> tuple[float, Numbers, Numbers]:
    """Return the sum of squares, the residuals, and their derivatives by the logarithms."""
    parts = table * np.exp(logs)
    said = parts.sum(1)
    residual = weighed * np.log(said / measured)
    return float(residual @ residual), residual, weighed[:, None] * parts / said[:, None]
