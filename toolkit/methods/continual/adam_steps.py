"""Steps of Adam, metered, for methods whose sources train with it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from toolkit.learning.adam import Adam
from toolkit.learning.meter import adam_work, checking_work
from toolkit.methods.continual.learner import Learner


def move(learner: Learner, adam: Adam, weights: Sequence[Tensor], *, rate: float, weight_decay: float = 0.0) -> None:
    """Move *weights* by the gradients that they hold."""
    gradients = [weight.grad for weight in weights]
    adam.step(weights, gradients, rate, weight_decay=weight_decay)
    size = sum(gradient.numel() for gradient in gradients if gradient is not None)
    learner.meter.add(adam_work(size) + checking_work(size))


def adam_step(learner: Learner, adam: Adam, loss: Tensor, weight_decay: float, *, rate: float | None = None) -> Tensor:
    """Take one step against the gradient of *loss*, at the learner's rate or another; return the loss."""
    for weight in learner.parameters:
        weight.grad = None
    learner.backward(loss)
    move(learner, adam, learner.parameters, rate=learner.lr if rate is None else rate, weight_decay=weight_decay)
    return loss.detach()


def fallen(learner: Learner, every: int) -> float:
    """Return the learner's rate, a tenth of it after *every* epochs, and so on."""
    return learner.lr * float(0.1 ** (learner.epoch // every))
