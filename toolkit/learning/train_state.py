"""The state of a training: a network, its weights and gradient as flat vectors, what the optimiser keeps, and how far it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

import torch
from torch import Tensor, nn

from toolkit.errors import DivergenceError
from toolkit.learning.finite import is_finite
from toolkit.learning.flat import FlatLayout, adopt
from toolkit.learning.plain_state import plain, restored
from toolkit.models.evolving import Evolving

Optimiser = TypeVar("Optimiser")
"""What an update rule keeps between steps: momentum, error feedback; plain values and tensors."""


@dataclass
class TrainState(Generic[Optimiser]):
    """A network under training. Changing `weights` or `gradient` changes the network's, since its tensors are views of them."""

    model: nn.Module
    weights: Tensor
    """(d,)."""
    gradient: Tensor
    """(d,); every backward pass adds to it."""
    optimiser: Optimiser
    step: int = 0
    """Steps that are done."""

    @classmethod
    def create(cls, model: nn.Module, optimiser: Optimiser) -> Self:
        """Take *model* over: its trainable tensors and their gradients become views of two flat vectors."""
        weights = adopt(model)
        gradient = torch.zeros_like(weights)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for parameter, view in zip(trained, FlatLayout.of(model).split(gradient), strict=True):
            parameter.grad = view
        return cls(model, weights, gradient, optimiser)

    @property
    def total_steps(self) -> int:
        return self.step

    def backward(self, loss: Tensor, *, rate: float) -> None:
        """Replace the gradient by that of *loss*.

        Raises:
            DivergenceError: the loss or the gradient is not finite.
        """
        self.gradient.zero_()
        loss.backward()  # type: ignore[no-untyped-call]
        check_finite(loss, self.gradient, step=self.step, rate=rate)

    def state_dict(self) -> dict[str, Any]:
        """Return all that decides how training goes on, as values and tensors of its own."""
        buffers = [buffer.clone() for buffer in self.model.buffers()]
        return {"step": self.step, "weights": self.weights.clone(), "buffers": buffers, "optimiser": plain(self.optimiser)}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.step, self.optimiser = saved["step"], restored(self.optimiser, saved["optimiser"])
        self.weights.copy_(saved["weights"])
        for buffer, kept in zip(self.model.buffers(), saved["buffers"], strict=True):
            buffer.copy_(kept)
        if isinstance(self.model, Evolving):
            self.model.resume()


def check_finite(loss: Tensor, *gradients: Tensor, step: int, rate: float) -> None:
    """Raise a `DivergenceError` where the loss or a gradient has a value that is not finite."""
    value = float(loss.detach())
    if not math.isfinite(value):
        raise DivergenceError(f"its loss is {value:g}", step, rate)
    present = [gradient for gradient in gradients if gradient.numel()]
    if not present or all(math.isfinite(float(length)) for length in torch._foreach_norm(present)):
        return
    if not all(is_finite(gradient) for gradient in present):  # a length overflows before its numbers do
        raise DivergenceError("its gradient is not finite", step, rate)
