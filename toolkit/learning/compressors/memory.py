"""Memories: what a worker keeps of the gradients that it has not sent, so that nothing is lost, only late."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self, final

import torch
from torch import Tensor

from toolkit.learning.compressors import Compressor, Payload, WorkTuple
from toolkit.learning.finite import check_finite


class Memory(ABC):
    """Gradients go in, what is sent comes out."""

    error: Tensor
    """What has not been sent ((d,), in the units of the gradient times the scale it was added with)."""

    @abstractmethod
    def add(self, gradient: Tensor, scale: float = 1.0) -> Tensor:
        """Take in *scale* times *gradient*; return the vector to compress, which is the memory itself: do not change it.

        Raises:
            NotFiniteError: *gradient* holds what is infinite or NaN; the memory is then as it was.
        """

    @abstractmethod
    def remove(self, compressor: Compressor, payload: Payload) -> None:
        """Take out what was sent."""

    @abstractmethod
    def work(self) -> WorkTuple:
        """What `add` computes and moves; `remove` is the compressor's `add_work`."""


@final
@dataclass
class Residual(Memory):
    """Error feedback: e <- e + g, send C(e), e <- e - C(e).

    Source: Seide et al. 2014 (1-bit SGD); Karimireddy et al. 2019, Alg. 2.
    """

    error: Tensor

    @classmethod
    def zeros(cls, size: int) -> Self:
        return cls(torch.zeros(size))

    def add(self, gradient: Tensor, scale: float = 1.0) -> Tensor:
        check_finite(gradient, "Residual.add: the gradient")
        return self.error.add_(gradient, alpha=scale)

    def remove(self, compressor: Compressor, payload: Payload) -> None:
        compressor.add(payload, self.error, alpha=-1.0)

    def work(self) -> WorkTuple:
        """A multiplication and an addition per element; reads e and g, writes e."""
        size = self.error.numel()
        return 2.0 * size, 8.0 * size, 4.0 * size, 2.0


@final
@dataclass
class Corrected(Memory):
    """Momentum correction: u <- m u + g, e <- e + u; both are cleared where something was sent (momentum factor masking).

    Source: Lin et al. 2018 (Deep Gradient Compression), section 3.1-3.2. For compressors that send single coordinates: what a payload
    stands for must be zero elsewhere.
    """

    error: Tensor
    velocity: Tensor
    momentum: float
    masking: bool = True

    @classmethod
    def zeros(cls, size: int, momentum: float, *, masking: bool = True) -> Self:
        return cls(torch.zeros(size), torch.zeros(size), momentum, masking)

    def add(self, gradient: Tensor, scale: float = 1.0) -> Tensor:
        check_finite(gradient, "Corrected.add: the gradient")
        self.velocity.mul_(self.momentum).add_(gradient)
        return self.error.add_(self.velocity, alpha=scale)

    def remove(self, compressor: Compressor, payload: Payload) -> None:
        compressor.add(payload, self.error, alpha=-1.0)
        if self.masking:
            self.velocity[compressor.decompress(payload, self.error.numel()) != 0] = 0.0

    def work(self) -> WorkTuple:
        """Two multiply-adds per element; reads u, g, then e, u; writes u and e. The kernels of `remove` beyond adding are among them."""
        size = self.error.numel()
        return 4.0 * size, 16.0 * size, 8.0 * size, 9.0
