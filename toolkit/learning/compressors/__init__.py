"""Compressors of gradients, usable in any training script: what of a vector is sent, in how many bytes, and what is made of it.

Three roles, as in GRACE (Xu et al. 2021): a `Compressor` turns a vector into the tensors that travel and back; a memory
(`toolkit.learning.compressors.memory`) keeps what was not sent; and `collective` says how the workers' payloads are brought together.

    memory = Residual.zeros(d)
    vector = memory.add(gradient)                       # what is to be sent
    payload = compressor.compress(vector, generator)    # what is sent: packed tensors, whose nbytes are the truth
    memory.remove(compressor, payload)                  # what was not sent stays
    mean = compressor.mean(all_gather(payload), d)      # what all workers make of what they received
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

from toolkit.learning.finite import NotFiniteError, check_finite, is_finite

Payload = tuple[Tensor, ...]
WorkTuple = tuple[float, float, float, float]
"""Floating-point operations, bytes read, bytes written, kernels started: the first fields of a `toolkit.core.work.Work`."""
CHECKS = 2
"""Kernels of looking for what is not finite, before and after compressing."""
INDEX_BYTES = 4


class Compressor(ABC):
    """How a vector (float32, 1-D) becomes fewer bytes. Frozen settings; every draw comes from the generator that is passed."""

    collective: ClassVar[Literal["all_gather", "all_reduce"]] = "all_gather"
    """How the payloads of several workers meet: side by side, or added (then a payload is a single float tensor)."""
    draws: ClassVar[bool] = True
    """Whether it may ask for random numbers; making a generator takes as long as compressing a small network's gradient."""

    def compress(self, vector: Tensor, generator: Generator | None = None) -> Payload:
        """Return the tensors that are sent for *vector*, which is left as it is; *generator* is this worker's own.

        Raises:
            NotFiniteError: an element is infinite or NaN, or so large that what stands for the vector would be.
        """
        name = type(self).__name__
        check_finite(vector, f"{name}.compress: the vector")
        payload = self._compressed(vector, generator)
        if not all(is_finite(tensor) for tensor in payload if tensor.is_floating_point()):
            raise NotFiniteError(too_large(name, vector))
        return payload

    @abstractmethod
    def _compressed(self, vector: Tensor, generator: Generator | None) -> Payload:
        """`compress` for a vector that is known to be finite."""

    @abstractmethod
    def decompress(self, payload: Payload, size: int) -> Tensor:
        """Return the vector ((size,), float32) that a payload stands for."""

    @abstractmethod
    def wire_bytes(self, size: int) -> int:
        """Bytes of the payload of a vector of *size* elements, exactly."""

    @abstractmethod
    def work(self, size: int) -> WorkTuple:
        """What `compress` computes and moves."""

    @abstractmethod
    def add_work(self, size: int) -> WorkTuple:
        """What `add` computes and moves for one payload."""

    def add(self, payload: Payload, total: Tensor, alpha: float = 1.0) -> None:
        """Add *alpha* times what the payload stands for to *total* in place."""
        total.add_(self.decompress(payload, total.numel()), alpha=alpha)

    def mean(self, payloads: Iterable[Payload], size: int) -> Tensor:
        """Return the mean of what several workers' payloads stand for, added in the order given (so all get the same bits)."""
        all_payloads = iter(payloads)
        first = next(all_payloads, None)
        if first is None:
            raise ValueError("mean: there are no payloads; give at least one")
        total, count = self.decompress(first, size), 1
        for payload in all_payloads:
            self.add(payload, total)
            count += 1
        check_finite(total, f"{type(self).__name__}.mean: the sum of what {count} payloads stand for")
        return total.div_(count)


def too_large(name: str, vector: Tensor) -> str:
    """The sentence for a finite vector whose sums or squares float32 cannot hold."""
    return (
        f"{name}.compress: the vector reaches to {float(vector.abs().max()):.3g}, and sums over it are beyond float32 (3.4e38); "
        "scale the gradients down, or check them"
    )


def bundle(payload: Payload) -> Tensor:
    """Return the tensors of a payload as one message (uint8): one latency instead of several."""
    return torch.cat([tensor.contiguous().view(torch.uint8) for tensor in payload])


def unbundle(message: Tensor, like: Payload) -> Payload:
    """Return the tensors that `bundle` put into a message; *like* has their types and sizes."""
    parts = torch.split(message, [tensor.nbytes for tensor in like])
    return tuple(part.clone().view(tensor.dtype) for part, tensor in zip(parts, like, strict=True))


def per_part(sizes: tuple[int, ...], size: int) -> tuple[int, ...]:
    """Return the lengths of the parts that get a scale of their own: *sizes*, or the whole where none are given.

    Raises:
        ValueError: they do not add up to *size*.
    """
    if not sizes:
        return (size,)
    if sum(sizes) != size:
        raise ValueError(f"sizes: the parts add up to {sum(sizes)}, and the vector has {size} elements")
    return sizes


def part_sums(values: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Return the sum of each part ((parts,), float32)."""
    return torch.stack([part.sum(dtype=torch.float32) for part in torch.split(values, list(sizes))])


def spread(scales: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Return each part's scale at every element of it."""
    lengths = torch.tensor(sizes, device=scales.device)
    return scales.repeat_interleave(lengths, output_size=sum(sizes))
