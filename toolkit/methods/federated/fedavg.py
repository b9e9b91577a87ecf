"""FedAvg: each round some clients train by themselves, and the mean of their weights is the next model."""

from __future__ import annotations

from typing import final

from toolkit.methods.federated.rounds import Rounds


@final
class FedAvg(Rounds):
    """w_{t+1} = sum over k of (n_k / n) w_k, n the samples of the cohort; each w_k from w_t by E epochs of SGD with batches of B.

    Source: McMahan et al. 2017, Alg. 1. Departures: samples that do not fill a batch are left out of an epoch, each of which has an order
    of its own; over-selection, deadline and clients that go away, which the paper has not; the mean is over those that came back, as in its
    code (in the first version of the paper the others counted with w_t).
    """
