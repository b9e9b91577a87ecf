"""Flat vectors: all parameters of a model as one vector, and which part of it is which tensor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from math import prod

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class FlatLayout:
    """Where each tensor lies in the flat vector, in the order of `model.parameters()`."""

    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, model: nn.Module) -> FlatLayout:
        return cls(tuple(tuple(parameter.shape) for parameter in model.parameters() if parameter.requires_grad))

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        return tuple(prod(shape) for shape in self.shapes)

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        ends = list(accumulate(self.sizes, initial=0))
        return tuple(slice(begin, end) for begin, end in pairwise(ends))

    @property
    def size(self) -> int:
        """Number of parameters (d)."""
        return sum(self.sizes)

    def split(self, vector: Tensor) -> list[Tensor]:
        """Return views of a flat *vector* in the shapes of the tensors."""
        return [vector[part].view(shape) for part, shape in zip(self.slices, self.shapes, strict=True)]

    def small(self, numel: int) -> Tensor:
        """Return a mask of the coordinates (bool, (d,)) that belong to tensors of fewer than *numel* elements."""
        mask = torch.zeros(self.size, dtype=torch.bool)
        for part, size in zip(self.slices, self.sizes, strict=True):
            mask[part] = size < numel
        return mask


def adopt(model: nn.Module) -> Tensor:
    """Make all trainable parameters views of one new flat vector, and return it: changing the vector changes the model."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    flat = torch.cat([parameter.detach().reshape(-1) for parameter in parameters])
    for parameter, view in zip(parameters, FlatLayout.of(model).split(flat), strict=True):
        parameter.data = view
    return flat


def weights(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Return copies of all parameters as one new flat vector."""
    return torch.cat([parameter.detach().reshape(-1) for parameter in parameters])


def gradient_of(loss: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
    """Return the gradient of *loss* as one new flat vector; the parameters' own gradients stay as they are."""
    found = torch.autograd.grad(loss, list(parameters), materialize_grads=True)
    return torch.cat([part.reshape(-1) for part in found])


def assign_gradient(parameters: Sequence[nn.Parameter], vector: Tensor) -> None:
    """Make the parts of a flat *vector* the gradients of *parameters*."""
    parts = torch.split(vector, [parameter.numel() for parameter in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part.view_as(parameter)


def gradient(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Return all gradients as one new flat vector; a parameter without gradient counts as zero."""
    return torch.cat([
        torch.zeros(parameter.numel()) if parameter.grad is None else parameter.grad.reshape(-1)
        for parameter in parameters if parameter.requires_grad
    ])
