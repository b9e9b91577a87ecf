"""Schedules of training by epoch: learning rates with warm restarts, and the rate of DropBlock that follows them in reverse.

Source: Loshchilov, Hutter 2017, *SGDR: Stochastic Gradient Descent with Warm Restarts*, in the form that HCGNet uses: cycles of 10, 20,
40, ... epochs, in each of which the rate falls from its peak to zero along half a cosine; the drop rate rises from zero to its peak
meanwhile. Departure: HCGNet's reference shifts the epochs of its larger models in such a way that training cannot start (the shift binds
before the condition on the epoch); what it means, two runs of 630 epochs one after the other, is *repeat_epochs* here.
"""

from __future__ import annotations

import math


def cycle(epoch: float, first_epochs: float = 10, factor: float = 2, repeat_epochs: float | None = None) -> float:
    """Return how far (0 to below 1) *epoch*, counted from 0, has come in its cycle.

    Args:
        first_epochs: length of the first cycle; each following one is *factor* times as long.
        repeat_epochs: after so many epochs the cycles begin anew with the first; None never.

    Raises:
        ValueError: an epoch before the first, cycles of no length.
    """
    if epoch < 0:
        raise ValueError(f"epochs are counted from 0 (got {epoch})")
    if first_epochs <= 0 or factor < 1 or (repeat_epochs is not None and repeat_epochs <= 0):
        raise ValueError(
            f"cycles need a positive length, and a factor of at least 1 (got first_epochs {first_epochs}, factor {factor}, "
            f"repeat_epochs {repeat_epochs})"
        )
    if repeat_epochs is not None:
        epoch %= repeat_epochs
    length = first_epochs
    while epoch >= length:
        epoch -= length
        length *= factor
    return epoch / length


def sgdr(
    epoch: float, peak: float = 0.1, first_epochs: float = 10, factor: float = 2, repeat_epochs: float | None = None
) -> float:
    """Return the learning rate of *epoch*: *peak* at the beginning of each cycle, falling to zero along half a cosine; see `cycle`."""
    return 0.5 * peak * (1 + math.cos(math.pi * cycle(epoch, first_epochs, factor, repeat_epochs)))


def drop_rate(
    epoch: float, peak: float = 0.1, first_epochs: float = 10, factor: float = 2, repeat_epochs: float | None = None
) -> float:
    """Return the DropBlock probability of *epoch*: zero at each restart of `sgdr`, *peak* at the end of each cycle."""
    return peak - sgdr(epoch, peak, first_epochs, factor, repeat_epochs)
