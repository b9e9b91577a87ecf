"""Changes of a network: how the difference of two states of it becomes bytes, and what is made of these ashore.

What is sent is always the difference to what is ashore by then, which the sender knows, since it knows what the shore makes of each
message. So whatever one message leaves out is in the next one: error feedback without a memory of its own.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from toolkit.core.part import Part
from toolkit.core.work import Work


class Change(Part):
    """A code for vectors (d,) of float32. Members are files of this package."""

    family: ClassVar[str] = "change"

    @abstractmethod
    def encode(self, vector: Tensor, generator: torch.Generator) -> Tensor:
        """Return the bytes (n,) of uint8 that are sent for *vector*; *generator* is for codes that draw."""

    @abstractmethod
    def decode(self, code: Tensor, size: int) -> Tensor:
        """Return the vector (*size*,) that *code* stands for; no draws, so that both ends make the same of it."""

    @abstractmethod
    def nbytes(self, size: int) -> int:
        """Return how many bytes a vector of *size* takes, whatever is in it."""

    @abstractmethod
    def work(self, size: int) -> Work:
        """Return the work of encoding, and of decoding what is sent, as the sender does too."""


def as_bytes(*parts: Tensor) -> Tensor:
    """Return the bytes of *parts*, one after the other."""
    return torch.cat([part.contiguous().view(torch.uint8).reshape(-1) for part in parts])


def as_floats(code: Tensor) -> Tensor:
    """Return the float32 numbers whose bytes *code* are."""
    return code.clone().view(torch.float32)
