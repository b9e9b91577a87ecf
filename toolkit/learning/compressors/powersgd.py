"""PowerSGD: every matrix as the product of two thin ones, found by one step of a power iteration that remembers the last one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import final

import torch
from torch import Generator, Tensor

from toolkit.core.work import FLOAT_BYTES
from toolkit.learning.compressors import CHECKS, Compressor, Payload, WorkTuple
from toolkit.learning.finite import check_finite


@final
@dataclass(frozen=True)
class PowerSgdCompressor(Compressor):
    """Matrices M ((n, m), one after the other in the vector) as P Q^T with P (n, rank) of orthonormal columns and Q (m, rank).

    ``P <- orthogonal(M Q), Q <- M^T P``. As M Q and M^T P are linear in M, workers who share Q can add the first over all of them, then
    the second, and so get the approximation of their mean; `left`, `orthogonal` and `right` are these halves. `compress` is the whole
    for a worker alone, from a random Q. Biased: use it with a memory.

    Source: Vogels, Karimireddy and Jaggi 2019, Alg. 1. Departure: Householder QR instead of Gram-Schmidt, which has no trouble with
    columns of zeros.
    """

    shapes: tuple[tuple[int, int], ...]
    rank: int

    def __post_init__(self) -> None:
        for rows, cols in self.shapes:
            if not 1 <= self.rank <= min(rows, cols):
                raise ValueError(f"rank: {self.rank} is not in 1 to {min(rows, cols)}, the smaller side of a {rows} x {cols} matrix")

    @property
    def size(self) -> int:
        """Elements of all matrices."""
        return sum(rows * cols for rows, cols in self.shapes)

    @property
    def left_size(self) -> int:
        """Elements of P over all matrices."""
        return self.rank * sum(rows for rows, _ in self.shapes)

    @property
    def right_size(self) -> int:
        """Elements of Q over all matrices."""
        return self.rank * sum(cols for _, cols in self.shapes)

    def draw(self, generator: Generator | None) -> Tensor:
        """Return a first Q of normal numbers, all matrices' one after the other ((right_size,))."""
        return torch.randn(self.right_size, generator=generator, device=generator.device if generator else None)

    def left(self, vector: Tensor, right: Tensor) -> Tensor:
        """Return M Q of each matrix ((left_size,))."""
        return torch.cat([(m @ q).view(-1) for m, q in zip(self._matrices(vector), self._thin(right, 1), strict=True)])

    def orthogonal(self, left: Tensor) -> Tensor:
        """Return P with orthonormal columns that span those given ((left_size,)).

        Raises:
            NotFiniteError: these are infinite or NaN.
        """
        check_finite(left, "PowerSgd.orthogonal: the product M Q")
        return torch.cat([torch.linalg.qr(p).Q.reshape(-1) for p in self._thin(left, 0)])

    def right(self, vector: Tensor, left: Tensor) -> Tensor:
        """Return M^T P of each matrix ((right_size,))."""
        return torch.cat([(m.T @ p).reshape(-1) for m, p in zip(self._matrices(vector), self._thin(left, 0), strict=True)])

    def product(self, left: Tensor, right: Tensor) -> Tensor:
        """Return P Q^T of each matrix ((size,))."""
        return torch.cat([(p @ q.T).view(-1) for p, q in zip(self._thin(left, 0), self._thin(right, 1), strict=True)])

    def _matrices(self, vector: Tensor) -> Iterator[Tensor]:
        parts = torch.split(vector, [rows * cols for rows, cols in self.shapes])
        return (part.view(shape) for part, shape in zip(parts, self.shapes, strict=True))

    def _thin(self, factors: Tensor, side: int) -> Iterator[Tensor]:
        ends = accumulate(self.rank * shape[side] for shape in self.shapes)
        return (factors[end - self.rank * shape[side] : end].view(-1, self.rank) for end, shape in zip(ends, self.shapes, strict=True))

    def _compressed(self, vector: Tensor, generator: Generator | None) -> Payload:
        left = self.orthogonal(self.left(vector, self.draw(generator).to(vector.device)))
        return left, self.right(vector, left)

    def decompress(self, payload: Payload, size: int) -> Tensor:
        return self.product(*payload)

    def wire_bytes(self, size: int) -> int:
        return FLOAT_BYTES * (self.left_size + self.right_size)

    def work(self, size: int) -> WorkTuple:
        """Two products of 2 n m rank, a QR of 4 n rank^2; the matrices are read twice, each factor is read and written twice."""
        factors = 2.0 * self.wire_bytes(size)
        return 4.0 * size * self.rank + 4.0 * self.left_size * self.rank, 8.0 * size + factors, factors, CHECKS + 6.0 * len(self.shapes)

    def add_work(self, size: int) -> WorkTuple:
        """A product of 2 n m rank and an addition; reads both factors and the sum, writes the sum."""
        return 2.0 * size * self.rank + size, self.wire_bytes(size) + 4.0 * size, 4.0 * size, 2.0 + len(self.shapes)
